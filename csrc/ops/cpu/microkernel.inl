// The one inner loop of every matrix product: C tile += A rows x B panels.
//
// An element of C is one chain of multiply-adds over k in ascending order, in a register of its own, whatever the
// tile's shape: bits do not depend on how a product is cut into tiles.

namespace vajra::ops::VAJRA_ISA_NS {
namespace {

// Rows of A (bf16: pairs; else float32) times panels of 16 columns, given as chunks of k steps. GEMM and QK^T have one
// chunk; PV has one per page.
struct Product {
  const char* a = nullptr;
  int64_t lda = 0;                 // bytes between rows of A
  const char* const* b = nullptr;  // [chunks][b_ld]: where each panel's chunk starts
  int b_ld = 0;
  int chunks = 1;
  int64_t chunk_steps = 0, last_steps = 0;  // k steps of every chunk but the last, and of the last
  int64_t b_stride = 0;                     // bytes between k steps of B
  bool half_step = false;                   // one more step, of a pair's first element only
  float* c = nullptr;
  int64_t ldc = 0;
  const float* bias = nullptr;
  bool accumulate = false;
  int lanes = kPanel;     // columns of the last panel
  float* wide = nullptr;  // wide_floats<W>(k) of scratch
  int abreast = 1;        // panels at a time where few rows make one pass over B (chunks == 1)
};

// A tile's sums into C: bias and what was there are added after the whole sum.
template <int R, int P>
VAJRA_INLINE void finish_tile(const Product& x, const F (&acc)[R][P]) {
#pragma GCC unroll 8
  for (int p = 0; p < P; ++p) {
    const int lanes = p + 1 < P ? kPanel : x.lanes;
    const F bias = x.bias ? load_n(x.bias + p * kPanel, lanes) : zero();
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      float* c = x.c + r * x.ldc + p * kPanel;
      F v = acc[r][p];
      if (x.bias) v = add(v, bias);
      if (x.accumulate) v = add(load_n(c, lanes), v);
      store_n(c, v, lanes);
    }
  }
}

template <DType W, int R, int P>
void product_tile(const Product& x) {
  using D = Dot<W>;
  constexpr int kChains = k_chains(R, P);
  F sums[kChains][R][P];
  for (auto& chain : sums) {
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 8
      for (int p = 0; p < P; ++p) chain[r][p] = zero();
    }
  }
  auto& acc = sums[0];
  const char* a = x.a;
  const int64_t lda = x.lda, stride = x.b_stride;
  const char* b[P] = {};
  for (int chunk = 0; chunk < x.chunks; ++chunk) {
#pragma GCC unroll 8
    for (int p = 0; p < P; ++p) b[p] = x.b[chunk * x.b_ld + p];
    const int64_t steps = chunk + 1 < x.chunks ? x.chunk_steps : x.last_steps;
    const auto step = [&](F(&chain)[R][P]) __attribute__((always_inline)) {
      typename D::B panel[P];
#pragma GCC unroll 8
      for (int p = 0; p < P; ++p) {
        panel[p] = D::load_b(b[p]);
        b[p] += stride;
      }
#pragma GCC unroll 16
      for (int r = 0; r < R; ++r) {
        const auto row = D::load_a(a + r * lda);
#pragma GCC unroll 8
        for (int p = 0; p < P; ++p) chain[r][p] = D::step(chain[r][p], row, panel[p]);
      }
      a += 4;
    };
    int64_t s = 0;
    if constexpr (kChains == 2) {
      for (; s + 2 <= steps; s += 2) {
        step(sums[0]);
        step(sums[1]);
      }
    }
    for (; s < steps; ++s) step(acc);
  }
  if constexpr (kChains == 2) {
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 8
      for (int p = 0; p < P; ++p) acc[r][p] = add(acc[r][p], sums[1][r][p]);
    }
  }
  if (x.half_step) {
#pragma GCC unroll 8
    for (int p = 0; p < P; ++p) {
      const auto panel = D::load_b(b[p]);
#pragma GCC unroll 16
      for (int r = 0; r < R; ++r) acc[r][p] = D::step(acc[r][p], D::load_a_half(a + r * lda), panel);
    }
  }
  finish_tile(x, acc);
}

using TileFn = void (*)(const Product&);

template <DType W, int R>
TileFn tile_for_panels(int panels) {
  constexpr int kMax = max_panels(W, R);
  if constexpr (kMax >= 4) {
    if (panels >= 4) return product_tile<W, R, 4>;
  }
  if constexpr (kMax >= 2) {
    if (panels >= 2) return product_tile<W, R, 2>;
  }
  return product_tile<W, R, 1>;
}

template <DType W, int R = kMaxRows>
TileFn tile_for(int rows, int panels) {
  if constexpr (R > 1) {
    if (rows < R) return tile_for<W, R - 1>(rows, panels);
  }
  return tile_for_panels<W, R>(panels);
}

// Panels that the tile for `rows` and `panels` takes.
template <DType W>
int tile_panels(int rows, int panels) {
  const int most = max_panels(W, rows);
  return panels >= 4 && most >= 4 ? 4 : panels >= 2 && most >= 2 ? 2 : 1;
}

// The part of x that begins `row` rows and `panel` panels in.
Product part_of(const Product& x, int64_t row, int panel) {
  Product t = x;
  t.a += row * x.lda;
  t.b += panel;
  t.c += row * x.ldc + panel * kPanel;
  if (x.bias) t.bias += panel * kPanel;
  return t;
}

// Scratch that a product over k needs.
template <DType W>
constexpr int64_t wide_floats(int64_t) {
  return 0;
}

// A product of any size: `rows` x `panels`, x describing its first row and panel. The last panel has x.lanes columns.
template <DType W>
void product(const Product& x, int64_t rows, int panels) {
  const int64_t cuts = (rows + kMaxRows - 1) / kMaxRows;  // of nearly equal height
  // One pass over B waits for memory, which the processor fetches ahead by itself; prefetch instructions measure a
  // tenth slower. (Panels of many chunks lie side by side and are one stream anyway.)
  const int most = cuts == 1 && x.chunks == 1 ? x.abreast : panels;
  for (int p = 0; p < panels;) {
    int step = panels - p < most ? panels - p : most;
    for (int64_t i = 0; i < cuts; ++i) {
      const int64_t r0 = rows * i / cuts, r1 = rows * (i + 1) / cuts;
      const int height = int(r1 - r0);
      // Every cut takes the panels of the lowest one, which can take no fewer.
      if (i == 0) step = tile_panels<W>(int((rows + cuts - 1) / cuts), step);
      Product t = part_of(x, r0, p);
      if (p + step < panels) t.lanes = kPanel;
      tile_for<W>(height, step)(t);
    }
    p += step;
  }
}

}  // namespace
}  // namespace vajra::ops::VAJRA_ISA_NS
