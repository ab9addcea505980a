// Packing of weights into panels: runs once per model, on any processor.
#include <algorithm>
#include <cstring>
#include <type_traits>

#include "ops/convert.h"
#include "ops/ops.h"

namespace vajra::ops {
namespace {

template <DType T>
using Storage = std::conditional_t<T == DType::kF32, float, uint16_t>;

template <DType T>
float to_f32(Storage<T> x) {
  if constexpr (T == DType::kF32) return x;
  if constexpr (T == DType::kF16) return f16_to_f32(x);
  if constexpr (T == DType::kBF16) return bf16_to_f32(x);
}

template <DType To, DType From>
Storage<To> convert(Storage<From> x) {
  if constexpr (To == From) return x;
  if constexpr (To == DType::kF32) return to_f32<From>(x);
  if constexpr (To == DType::kF16) return f32_to_f16(to_f32<From>(x));
  if constexpr (To == DType::kBF16) return f32_to_bf16(to_f32<From>(x));
}

// Rows are taken panel by panel and, within one, in runs of k that stay in the first-level cache.
template <DType To, DType From>
void pack(char* dst, int64_t n, int64_t k, int64_t row0, int64_t rows, const Storage<From>* src) {
  constexpr int64_t v = k_pack(To), kRun = 256;
  const int64_t steps = (k + v - 1) / v, row1 = row0 + rows;
  using T = Storage<To>;
  for (int64_t r = row0; r < row1;) {
    const int64_t lane0 = r % kPanel, lanes = std::min(row1 - r, kPanel - lane0);
    T* panel = reinterpret_cast<T*>(dst) + r / kPanel * steps * kPanel * v;
    for (int64_t k0 = 0; k0 < k; k0 += kRun) {
      const int64_t len = std::min(kRun, k - k0), run_steps = (len + v - 1) / v;
      T run[kPanel][kRun];
      for (int64_t lane = 0; lane < lanes; ++lane) {
        const Storage<From>* row = src + (r - row0 + lane) * k + k0;
        for (int64_t i = 0; i < len; ++i) run[lane][i] = convert<To, From>(row[i]);
        if (run_steps * v > len) run[lane][len] = T(0);
      }
      T* out = panel + (k0 / v * kPanel + lane0) * v;
      for (int64_t s = 0; s < run_steps; ++s) {
        for (int64_t lane = 0; lane < lanes; ++lane) {
          std::memcpy(out + (s * kPanel + lane) * v, &run[lane][s * v], sizeof(T) * v);
        }
      }
    }
    r += lanes;
    const int64_t lane1 = lane0 + lanes;
    if (r == n && lane1 < kPanel) {  // lanes beyond the last row
      for (int64_t s = 0; s < steps; ++s) {
        std::memset(panel + (s * kPanel + lane1) * v, 0, sizeof(T) * size_t((kPanel - lane1) * v));
      }
    }
  }
}

template <DType To>
void pack_to(char* dst, int64_t n, int64_t k, int64_t row0, int64_t rows, const void* src, DType from) {
  switch (from) {
    case DType::kF32:
      return pack<To, DType::kF32>(dst, n, k, row0, rows, static_cast<const float*>(src));
    case DType::kF16:
      return pack<To, DType::kF16>(dst, n, k, row0, rows, static_cast<const uint16_t*>(src));
    case DType::kBF16:
      return pack<To, DType::kBF16>(dst, n, k, row0, rows, static_cast<const uint16_t*>(src));
  }
}

}  // namespace

size_t packed_bytes(DType dtype, int64_t n, int64_t k) {
  const int64_t v = k_pack(dtype), panels = (n + kPanel - 1) / kPanel, steps = (k + v - 1) / v;
  return size_t(panels * steps * kPanel * v) * dtype_size(dtype);
}

void pack_rows(void* dst, DType dtype, int64_t n, int64_t k, int64_t row0, int64_t rows, const void* src,
               DType src_dtype) {
  char* out = static_cast<char*>(dst);
  switch (dtype) {
    case DType::kF32:
      return pack_to<DType::kF32>(out, n, k, row0, rows, src, src_dtype);
    case DType::kF16:
      return pack_to<DType::kF16>(out, n, k, row0, rows, src, src_dtype);
    case DType::kBF16:
      return pack_to<DType::kBF16>(out, n, k, row0, rows, src, src_dtype);
  }
}

}  // namespace vajra::ops
