// The microkernel's bfloat16 products as float32 multiply-adds, for processors on which two of those take less time
// than one bfloat16 dot product of as many pairs.
//
// An element of C is one chain: a pair's even element first, then its odd one, each by an FMA, as in the avx2 family.

namespace vajra::ops::VAJRA_ISA_NS {
namespace {

// k elements of a row, as float32.
VAJRA_INLINE void widen_row(const char* row, int64_t k, float* out) {
  const auto* x = reinterpret_cast<const uint16_t*>(row);
  int64_t i = 0;
  for (; i + kPanel <= k; i += kPanel) store(out + i, load_bf16(x + i));
  for (; i < k; ++i) out[i] = bf16_to_f32(x[i]);
}

// a: [R][lda] float32.
template <int R, int P>
void wide_tile(const Product& x, const float* a, int64_t lda) {
  F acc[R][P];
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 8
    for (int p = 0; p < P; ++p) acc[r][p] = zero();
  }
  const char* b[P] = {};
  const auto multiply = [&](const F(&panel)[P]) __attribute__((always_inline)) {
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      const F row = set1(a[r * lda]);
#pragma GCC unroll 8
      for (int p = 0; p < P; ++p) acc[r][p] = fma(row, panel[p], acc[r][p]);
    }
    ++a;
  };
  const auto even = [&]() __attribute__((always_inline)) {
    F panel[P];
#pragma GCC unroll 8
    for (int p = 0; p < P; ++p) panel[p] = widen_even(b[p]);
    multiply(panel);
  };
  for (int chunk = 0; chunk < x.chunks; ++chunk) {
#pragma GCC unroll 8
    for (int p = 0; p < P; ++p) b[p] = x.b[chunk * x.b_ld + p];
    const int64_t steps = chunk + 1 < x.chunks ? x.chunk_steps : x.last_steps;
    for (int64_t s = 0; s < steps; ++s) {
      even();
      F panel[P];
#pragma GCC unroll 8
      for (int p = 0; p < P; ++p) {
        panel[p] = widen_odd(b[p]);
        b[p] += x.b_stride;
      }
      multiply(panel);
    }
  }
  if (x.half_step) even();
  finish_tile(x, acc);
}

using WideTileFn = void (*)(const Product&, const float*, int64_t);

template <int R = kMaxRows>
WideTileFn wide_tile_for(int rows, int panels) {
  if constexpr (R > 1) {
    if (rows < R) return wide_tile_for<R - 1>(rows, panels);
  }
  return panels >= 4 ? wide_tile<R, 4> : panels >= 2 ? wide_tile<R, 2> : wide_tile<R, 1>;
}

// Rows of one cut.
template <>
constexpr int64_t wide_floats<DType::kBF16>(int64_t k) {
  return kMaxRows * k;
}

// In place of the microkernel's own. Rows of A are widened cut by cut, for all panels.
template <>
void product<DType::kBF16>(const Product& x, int64_t rows, int panels) {
  const int64_t cuts = (rows + kMaxRows - 1) / kMaxRows;  // of nearly equal height
  const int64_t k = 2 * ((x.chunks - 1) * x.chunk_steps + x.last_steps) + x.half_step;
  for (int64_t i = 0; i < cuts; ++i) {
    const int64_t r0 = rows * i / cuts, height = rows * (i + 1) / cuts - r0;
    for (int64_t r = 0; r < height; ++r) widen_row(x.a + (r0 + r) * x.lda, k, x.wide + r * k);
    for (int p = 0; p < panels;) {
      const int step = panels - p >= 4 ? 4 : panels - p >= 2 ? 2 : 1;
      Product t = part_of(x, r0, p);
      if (p + step < panels) t.lanes = kPanel;
      wide_tile_for(int(height), step)(t, x.wide, k);
      p += step;
    }
  }
}

}  // namespace
}  // namespace vajra::ops::VAJRA_ISA_NS
