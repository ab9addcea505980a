// C = A W^T for int8 weights, which are widened to bfloat16 (exactly) and multiplied as such.
//
// An element of C is total = fma(sum_g, scale_g, total) over groups g of k in ascending order, from +0, where sum_g is
// the group's own chain of pair products from +0. A total waits in memory while a group is summed in a register, so
// tiles are as wide as those of bfloat16; stored and loaded again it is the same float32, whatever the blocking.

namespace vajra::ops::VAJRA_ISA_NS {
namespace {

// Far enough ahead of a stream from memory to hide its latency.
constexpr int kPrefetchBytes = 2048;

// Up to kInt8Rows rows, a tile widens the weights in registers. For more, a block of k is widened once, into
// first-level cache, and then multiplied by all rows.
constexpr int64_t kWideGroups = 4;  // groups of k in a block
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
      prefetch(b[p] + kPrefetchBytes);
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

template <bool Wide, int R, int P>
void int8_tile(const Int8Product& x) {
  const char *a = x.a, *b[P], *scales[P];
#pragma GCC unroll 8
  for (int p = 0; p < P; ++p) {
    scales[p] = x.b[p];
    b[p] = Wide ? x.wide[p] : x.b[p] + kPanel * sizeof(float);
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
      for (int r = 0; r < R; ++r) {
        float* total = x.total + r * x.ld + p * kPanel;
        store(total, fma(sum[r][p], scale, x.first && k0 == 0 ? zero() : load(total)));
      }
    }
  }
}

using Int8TileFn = void (*)(const Int8Product&);

template <bool Wide>
constexpr int int8_tile_rows() {
  return Wide ? kMaxRows : kInt8Rows;
}
template <bool Wide>
constexpr int int8_tile_panels(int rows) {
  return Wide ? max_panels(DType::kBF16, rows) : int8_panels(rows);
}

template <bool Wide, int R = int8_tile_rows<Wide>()>
Int8TileFn int8_tile_for(int rows, int panels) {
  if constexpr (R > 1) {
    if (rows < R) return int8_tile_for<Wide, R - 1>(rows, panels);
  }
  constexpr int kMost = int8_tile_panels<Wide>(R);
  if constexpr (kMost >= 4) {
    if (panels >= 4) return int8_tile<Wide, R, 4>;
  }
  if constexpr (kMost >= 2) {
    if (panels >= 2) return int8_tile<Wide, R, 2>;
  }
  return int8_tile<Wide, R, 1>;
}

// All tiles of `rows` x `panels`, x describing the first row and panel.
template <bool Wide>
void int8_tiles(const Int8Product& x, int64_t rows, int panels) {
  const int64_t cuts = (rows + int8_tile_rows<Wide>() - 1) / int8_tile_rows<Wide>();  // of nearly equal height
  const int most = int8_tile_panels<Wide>(int((rows + cuts - 1) / cuts));
  for (int p = 0; p < panels;) {
    const int left = panels - p, step = left >= 4 && most >= 4 ? 4 : left >= 2 && most >= 2 ? 2 : 1;
    for (int64_t i = 0; i < cuts; ++i) {
      const int64_t r0 = rows * i / cuts, r1 = rows * (i + 1) / cuts;
      Int8Product t = x;
      t.a += r0 * x.lda;
      t.total += r0 * x.ld + p * kPanel;
      for (int j = 0; j < step; ++j) t.b[j] = x.b[p + j], t.wide[j] = x.wide[p + j];
      int8_tile_for<Wide>(int(r1 - r0), step)(t);
    }
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

// One row block times `count` panels; memory holds totals, and panels widened.
void int8_block(const GemmArgs& args, const Int8Product& whole, int64_t rows, int count, char* wide) {
  if (rows <= kInt8Rows) return int8_tiles<false>(whole, rows, count);
  const int64_t groups = (args.w.k + kInt8Group - 1) / kInt8Group;
  Int8Product x = whole;
  for (int64_t g0 = 0; g0 < groups; g0 += kWideGroups) {
    const int64_t some = groups - g0 < kWideGroups ? groups - g0 : kWideGroups, k0 = g0 * kInt8Group;
    for (int p = 0; p < count; ++p) {
      x.b[p] = whole.b[p] + g0 * int64_t(kInt8GroupBytes);
      x.wide[p] = wide + p * kWideBytes;
      widen_panel(x.b[p], some, wide + p * kWideBytes);
    }
    x.a = whole.a + k0 * 2;
    x.k = g0 + some < groups ? some * kInt8Group : args.w.k - k0;
    x.first = g0 == 0;
    int8_tiles<true>(x, rows, count);
  }
}

void gemm_int8(Context& ctx, const GemmArgs& args) {
  const int64_t n = args.w.n, k = args.w.k, m = args.m;
  const int64_t panels = (n + kPanel - 1) / kPanel, panel_bytes = int64_t(int8_bytes(kPanel, k));
  const int64_t height = m < kRowBlock ? m : kRowBlock, blocks = (m + kRowBlock - 1) / kRowBlock;
  const int64_t group = panels_at_a_time(ctx, m, panels), groups = (panels + group - 1) / group;
  const size_t total_bytes = size_t(height * group * kPanel) * sizeof(float);
  const size_t bytes = total_bytes + size_t(group * kWideBytes);
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
      int8_block(args, x, rows, count, reinterpret_cast<char*>(total) + total_bytes);
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
