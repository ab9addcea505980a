// C = A W^T for int8 weights, which are widened to bfloat16 (exactly) and multiplied as such.
//
// An element of C is total = fma(sum_g, scale_g, total) over groups g of k in ascending order, from +0, where sum_g is
// the group's own chain of pair products from +0. Sum and total are registers of a tile; between blocks of k a total
// waits in memory, where it is the same float32: bits do not depend on the blocking.

namespace vajra::ops::VAJRA_ISA_NS {
namespace {

// Far enough ahead of a stream from memory to hide its latency.
constexpr int kPrefetchBytes = 2048;

// Up to kInt8Rows rows, a tile widens the weights in registers. For more, a block of k is widened once, into
// first-level cache, and then multiplied by all rows.
constexpr int64_t kWideGroups = 8;  // groups of k in a block
constexpr int64_t kWideStepBytes = 4 * kPanel;
constexpr int64_t kWideBytes = kWideGroups * kInt8Group / 2 * kWideStepBytes;  // of one panel

struct Int8Product {
  const char* a = nullptr;   // rows of A (bf16 pairs) at the first k
  int64_t lda = 0;           // bytes between them
  const char* b[4] = {};     // panels at the first group
  const char* wide[4] = {};  // the same in bfloat16, or null
  int64_t k = 0;
  float* total = nullptr;  // [rows][ld]: running totals
  int64_t ld = 0;
  bool first = true;  // totals start here, at +0
};

// Widens groups of a panel: one bf16 step of 64 bytes after the other.
VAJRA_INLINE void widen_panel(const char* b, int64_t groups, char* wide) {
  for (int64_t g = 0; g < groups; ++g) {
    b += kPanel * sizeof(float);
    for (int k = 0; k < kInt8Group; k += 4) {
      const Int8Steps two = load_int8(b);
      store_pairs(wide, two.step[0]);
      store_pairs(wide + kWideStepBytes, two.step[1]);
      b += 4 * kPanel;
      wide += 2 * kWideStepBytes;
    }
  }
}

// sum += the group of `len` k.
template <int R, int P>
VAJRA_INLINE void wide_group(F (&sum)[R][P], const char* a, int64_t lda, const char* (&b)[P], int64_t len) {
  using D = Dot<DType::kBF16>;
  for (int64_t s = 0; s < len / 2; ++s) {
    typename D::B panel[P];
#pragma GCC unroll 8
    for (int p = 0; p < P; ++p) {
      panel[p] = D::load_b(b[p]);
      b[p] += kWideStepBytes;
    }
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      const auto row = D::load_a(a + r * lda);
#pragma GCC unroll 8
      for (int p = 0; p < P; ++p) sum[r][p] = D::step(sum[r][p], row, panel[p]);
    }
    a += 4;
  }
  if (len % 2 == 0) return;
#pragma GCC unroll 8
  for (int p = 0; p < P; ++p) {
    const auto panel = D::load_b(b[p]);
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) sum[r][p] = D::step(sum[r][p], D::load_a_half(a + r * lda), panel);
  }
}

// As wide_group, from int8.
template <int R, int P>
VAJRA_INLINE void int8_group(F (&sum)[R][P], const char* a, int64_t lda, const char* (&b)[P], int64_t len) {
  using D = Dot<DType::kBF16>;
  const auto step = [&](int p, const char* at, const typename D::B& panel) {
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) sum[r][p] = D::step(sum[r][p], D::load_a(at + r * lda), panel);
  };
  for (int64_t s = 0; s < len / 4; ++s) {
#pragma GCC unroll 8
    for (int p = 0; p < P; ++p) {
      const Int8Steps two = load_int8(b[p]);
      if (R > 1) prefetch(b[p] + kPrefetchBytes);  // for one row, the processor's own fetching measures faster
      b[p] += 4 * kPanel;
      step(p, a, two.step[0]);
      step(p, a + 4, two.step[1]);
    }
    a += 8;
  }
  if (len % 4 == 0) return;
#pragma GCC unroll 8
  for (int p = 0; p < P; ++p) {
    const Int8Steps two = load_int8(b[p]);
    if (len % 4 >= 2) step(p, a, two.step[0]);
    if (len % 2 == 0) continue;
    const bool second = len % 4 == 3;
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      sum[r][p] = D::step(sum[r][p], D::load_a_half(a + r * lda + second * 4), second ? two.step[1] : two.step[0]);
    }
  }
}

// Of panels widened before (Wide), or of int8.
template <bool Wide, int R, int P>
void int8_tile(const Int8Product& x) {
  const char *a = x.a, *b[P], *scales[P];
  F total[R][P];
#pragma GCC unroll 8
  for (int p = 0; p < P; ++p) {
    scales[p] = x.b[p];
    b[p] = Wide ? x.wide[p] : x.b[p] + kPanel * sizeof(float);
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) total[r][p] = x.first ? zero() : load(x.total + r * x.ld + p * kPanel);
  }
  for (int64_t k0 = 0; k0 < x.k; k0 += kInt8Group) {
    const int64_t len = x.k - k0 < kInt8Group ? x.k - k0 : kInt8Group;
    F sum[R][P];
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 8
      for (int p = 0; p < P; ++p) sum[r][p] = zero();
    }
    if constexpr (Wide) wide_group(sum, a, x.lda, b, len);
    if constexpr (!Wide) int8_group(sum, a, x.lda, b, len);
    a += kInt8Group * 2;
#pragma GCC unroll 8
    for (int p = 0; p < P; ++p) {
      const F scale = load(reinterpret_cast<const float*>(scales[p]));
      scales[p] += kInt8GroupBytes;
      if constexpr (!Wide) b[p] += kPanel * sizeof(float);
#pragma GCC unroll 16
      for (int r = 0; r < R; ++r) total[r][p] = fma(sum[r][p], scale, total[r][p]);
    }
  }
#pragma GCC unroll 8
  for (int p = 0; p < P; ++p) {
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) store(x.total + r * x.ld + p * kPanel, total[r][p]);
  }
}

using Int8TileFn = void (*)(const Int8Product&);

// Widened panels are multiplied two at a time where bfloat16 takes four: totals have the other registers.
constexpr int kWidePanels = max_panels(DType::kBF16, kMaxRows) > 1 ? 2 : 1;

template <bool Wide, int R = Wide ? kMaxRows : kInt8Rows>
Int8TileFn int8_tile_for(int rows, int panels) {
  if constexpr (R > 1) {
    if (rows < R) return int8_tile_for<Wide, R - 1>(rows, panels);
  }
  constexpr int kMost = Wide ? kWidePanels : int8_panels(R);
  if constexpr (kMost >= 4) {
    if (panels >= 4) return int8_tile<Wide, R, 4>;
  }
  if constexpr (kMost >= 2) {
    if (panels >= 2) return int8_tile<Wide, R, 2>;
  }
  return int8_tile<Wide, R, 1>;
}

// Many rows times up to kWidePanels panels, which are widened block by block of k.
void int8_many_rows(const Int8Product& whole, int64_t rows, int panels, char* wide) {
  const int64_t cuts = (rows + kMaxRows - 1) / kMaxRows;  // of nearly equal height
  const int64_t groups = (whole.k + kInt8Group - 1) / kInt8Group;
  for (int64_t g0 = 0; g0 < groups; g0 += kWideGroups) {
    const int64_t some = groups - g0 < kWideGroups ? groups - g0 : kWideGroups, k0 = g0 * kInt8Group;
    Int8Product x = whole;
    for (int p = 0; p < panels; ++p) {
      x.b[p] += g0 * int64_t(kInt8GroupBytes);
      x.wide[p] = wide + p * kWideBytes;
      widen_panel(x.b[p], some, wide + p * kWideBytes);
    }
    x.k = g0 + some < groups ? some * kInt8Group : whole.k - k0;
    x.first = g0 == 0;
    for (int64_t i = 0; i < cuts; ++i) {
      const int64_t r0 = rows * i / cuts, r1 = rows * (i + 1) / cuts;
      x.a = whole.a + k0 * 2 + r0 * x.lda;
      x.total = whole.total + r0 * x.ld;
      int8_tile_for<true>(int(r1 - r0), panels)(x);
    }
  }
}

// One row block times `count` panels; memory holds widened ones.
void int8_block(const Int8Product& whole, int64_t rows, int count, char* wide) {
  const int most = rows <= kInt8Rows ? int8_panels(int(rows)) : kWidePanels;
  for (int p = 0; p < count;) {
    const int left = count - p, step = left >= 4 && most >= 4 ? 4 : left >= 2 && most >= 2 ? 2 : 1;
    Int8Product x = whole;
    for (int j = 0; j < step; ++j) x.b[j] = whole.b[p + j];
    x.total += p * kPanel;
    if (rows <= kInt8Rows) int8_tile_for<false>(int(rows), step)(x);
    if (rows > kInt8Rows) int8_many_rows(x, rows, step, wide);
    p += step;
  }
}

// Totals of rows x panels, [rows][16 * panels], into C.
VAJRA_INLINE void int8_finish(const GemmArgs& args, const float* total, int64_t row0, int64_t rows, int64_t col0,
                              int64_t columns) {
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t j = 0; j < columns; j += kPanel) {
      const int lanes = args.w.n - col0 - j < kPanel ? int(args.w.n - col0 - j) : kPanel;
      float* c = args.c + (row0 + r) * args.ldc + col0 + j;
      F v = load(total + r * columns + j);
      if (args.bias) v = add(v, load_n(args.bias + col0 + j, lanes));
      if (args.accumulate) v = add(load_n(c, lanes), v);
      store_n(c, v, lanes);
    }
  }
}

void gemm_int8(Context& ctx, const GemmArgs& args) {
  const int64_t n = args.w.n, k = args.w.k, m = args.m;
  const int64_t panels = (n + kPanel - 1) / kPanel, panel_bytes = int64_t(int8_bytes(kPanel, k));
  const int64_t height = m < kRowBlock ? m : kRowBlock, blocks = (m + kRowBlock - 1) / kRowBlock;
  const int64_t group = panels_at_a_time(ctx, m, panels), groups = (panels + group - 1) / group;
  const size_t total_bytes = size_t(height * group * kPanel) * sizeof(float);
  const size_t bytes = total_bytes + size_t(kWidePanels * kWideBytes);
  for (int t = 0; t < num_threads(ctx); ++t) scratch(ctx, t, bytes);
  parallel_for(ctx, blocks * groups, 1, [&](int64_t begin, int64_t end, int thread) {
    float* total = static_cast<float*>(scratch(ctx, thread, bytes));
    for (int64_t item = begin; item < end; ++item) {
      const int64_t row0 = item / groups * kRowBlock, p0 = item % groups * group;
      const int64_t rows = m - row0 < kRowBlock ? m - row0 : kRowBlock;
      const int count = int(p0 + group < panels ? group : panels - p0);
      Int8Product x;
      x.a = static_cast<const char*>(args.a) + row0 * args.lda * 2;
      x.lda = args.lda * 2;
      for (int p = 0; p < count; ++p) x.b[p] = static_cast<const char*>(args.w.data) + (p0 + p) * panel_bytes;
      x.k = k;
      x.total = total;
      x.ld = count * kPanel;
      int8_block(x, rows, count, reinterpret_cast<char*>(total) + total_bytes);
      int8_finish(args, total, row0, rows, p0 * kPanel, count * kPanel);
    }
  });
}

void gemm(Context& ctx, const GemmArgs& args) {
  if (args.w.int8) return gemm_int8(ctx, args);
  switch (args.w.dtype) {
    case DType::kF32:
      return gemm_as<DType::kF32>(ctx, args);
    case DType::kF16:
      return gemm_as<DType::kF16>(ctx, args);
    case DType::kBF16:
      return gemm_as<DType::kBF16>(ctx, args);
  }
}

}  // namespace
}  // namespace vajra::ops::VAJRA_ISA_NS
