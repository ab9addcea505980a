// bfloat16 and float16 to and from float32, one value at a time, on any processor.
#pragma once

#include <cstdint>

#include "ops/ops.h"

namespace vajra::ops {

// Internal linkage: units with different architecture flags include this.
static inline float bits_to_float(uint32_t bits) {
  float x;
  __builtin_memcpy(&x, &bits, 4);
  return x;
}
static inline uint32_t float_to_bits(float x) {
  uint32_t bits;
  __builtin_memcpy(&bits, &x, 4);
  return bits;
}

static inline float bf16_to_f32(uint16_t h) { return bits_to_float(uint32_t(h) << 16); }

// Round to nearest even; a NaN stays one.
static inline uint16_t f32_to_bf16(float x) {
  const uint32_t bits = float_to_bits(x);
  const uint32_t rounded = bits + 0x7fff + (bits >> 16 & 1);
  return uint16_t((x != x ? bits | 0x400000 : rounded) >> 16);
}

static inline float f16_to_f32(uint16_t h) {
  const uint32_t sign = uint32_t(h & 0x8000) << 16, rest = uint32_t(h & 0x7fff);
  const uint32_t normal = (rest << 13) + (rest >= 0x7c00 ? 0x70000000 : 0x38000000);  // infinity and NaN keep theirs
  const float subnormal = float(int32_t(rest)) * 0x1p-24f;                            // exact
  return bits_to_float(sign | (rest < 0x400 ? float_to_bits(subnormal) : normal));
}

// Round to nearest even; overflow gives infinity.
static inline uint16_t f32_to_f16(float x) {
  const uint32_t bits = float_to_bits(x), sign = bits >> 16 & 0x8000, rest = bits & 0x7fffffff;
  uint32_t h;
  if (rest >= 0x47800000) {
    h = rest > 0x7f800000 ? 0x7e00 : 0x7c00;
  } else if (rest < 0x38800000) {
    h = float_to_bits(bits_to_float(rest) + 0.5f) - 0x3f000000;  // the adder aligns and rounds at 2^-24
  } else {
    h = (rest + 0xfff + (rest >> 13 & 1) - 0x38000000) >> 13;
  }
  return uint16_t(sign | h);
}

// Values [first, first + n) of an array of dtype t, widened exactly.
static inline void widen(const void* src, DType t, int64_t first, int64_t n, float* out) {
  if (t == DType::kF32) {
    __builtin_memcpy(out, static_cast<const float*>(src) + first, size_t(n) * sizeof(float));
    return;
  }
  const uint16_t* bits = static_cast<const uint16_t*>(src) + first;
  if (t == DType::kBF16) {
    for (int64_t i = 0; i < n; ++i) out[i] = bf16_to_f32(bits[i]);
  } else {
    for (int64_t i = 0; i < n; ++i) out[i] = f16_to_f32(bits[i]);
  }
}

}  // namespace vajra::ops
