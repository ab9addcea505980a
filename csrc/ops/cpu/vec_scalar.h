// Vectors of 16 floats in plain C++: the portable family and the reference that the others are read against. What a
// function means is said here; every family has the same functions.
//
// Without a fused multiply-add: a product is rounded before it is added.
#pragma once

#include "ops/convert.h"
#include "ops/ops.h"

#ifndef VAJRA_ISA_NS  // a family that stands on these vectors has its own
#define VAJRA_ISA_NS scalar
#define VAJRA_ISA_NAME "scalar"
#endif
#define VAJRA_INLINE static inline __attribute__((always_inline))

namespace vajra::ops::VAJRA_ISA_NS {

// Sixteen lanes; the compiler splits it into whatever the processor has.
typedef float F __attribute__((vector_size(64)));
typedef int32_t I __attribute__((vector_size(64)));

// Rows of a microkernel tile, and panels for a number of rows.
constexpr int kMaxRows = 4;
constexpr int max_panels(DType, int) { return 1; }

VAJRA_INLINE F zero() { return F{}; }
VAJRA_INLINE F set1(float x) { return F{} + x; }
VAJRA_INLINE F load(const float* p) {
  F v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}
VAJRA_INLINE void store(float* p, F v) { __builtin_memcpy(p, &v, sizeof v); }
// The first n lanes, n in [0, 16]; the others are zero, and not touched in memory.
VAJRA_INLINE F load_n(const float* p, int n) {
  F v{};
  for (int i = 0; i < n; ++i) v[i] = p[i];
  return v;
}
VAJRA_INLINE void store_n(float* p, F v, int n) {
  for (int i = 0; i < n; ++i) p[i] = v[i];
}
// The first n lanes of v, the others of rest.
VAJRA_INLINE F select_n(F v, F rest, int n) {
  for (int i = n; i < 16; ++i) v[i] = rest[i];
  return v;
}

VAJRA_INLINE F add(F a, F b) { return a + b; }
VAJRA_INLINE F sub(F a, F b) { return a - b; }
VAJRA_INLINE F mul(F a, F b) { return a * b; }
VAJRA_INLINE F div(F a, F b) { return a / b; }
VAJRA_INLINE F fma(F a, F b, F c) { return a * b + c; }
// b where the lanes do not compare, so that a NaN in b stays.
VAJRA_INLINE F max(F a, F b) { return a > b ? a : b; }
VAJRA_INLINE F min(F a, F b) { return a < b ? a : b; }
// To the nearest integer, ties to even, for |a| < 2^22.
VAJRA_INLINE F round(F a) { return (a + 0x1.8p23f) - 0x1.8p23f; }
// v, but zero in lanes where x < limit.
VAJRA_INLINE F zero_below(F v, F x, F limit) { return x < limit ? F{} : v; }
// v * 2^n for integral n, as long as the exponent does not leave its range.
VAJRA_INLINE F scale2(F v, F n) {
  const I shift = __builtin_convertvector(n == n ? n : F{}, I) << 23;
  I bits;
  __builtin_memcpy(&bits, &v, sizeof v);
  bits += shift;
  __builtin_memcpy(&v, &bits, sizeof v);
  return v;
}

// Sum and maximum of the lanes: halves are folded onto each other, 16 to 8 to 4 to 2 to 1.
VAJRA_INLINE float hsum(F v) {
  for (int half = 8; half > 0; half /= 2) {
    for (int i = 0; i < half; ++i) v[i] += v[i + half];
  }
  return v[0];
}
VAJRA_INLINE float hmax(F v) {
  for (int half = 8; half > 0; half /= 2) {
    for (int i = 0; i < half; ++i) v[i] = v[i] > v[i + half] ? v[i] : v[i + half];
  }
  return v[0];
}

VAJRA_INLINE F load_bf16(const uint16_t* p) {
  F v;
  for (int i = 0; i < 16; ++i) v[i] = bf16_to_f32(p[i]);
  return v;
}
VAJRA_INLINE F load_f16(const uint16_t* p) {
  F v;
  for (int i = 0; i < 16; ++i) v[i] = f16_to_f32(p[i]);
  return v;
}
// Round to nearest even.
VAJRA_INLINE void store_bf16_n(uint16_t* p, F v, int n) {
  for (int i = 0; i < n; ++i) p[i] = f32_to_bf16(v[i]);
}
VAJRA_INLINE void store_f16_n(uint16_t* p, F v, int n) {
  for (int i = 0; i < n; ++i) p[i] = f32_to_f16(v[i]);
}

VAJRA_INLINE void prefetch(const void* p) { __builtin_prefetch(p); }

// One k step of the microkernel for operands of dtype W: a value (or bf16 pair) of A for all lanes, kBytes of a panel.
template <DType W>
struct Dot {
  using A = F;
  using B = F;
  static constexpr int kBytes = W == DType::kF16 ? 32 : 64;
  VAJRA_INLINE A load_a(const char* p) {
    float x;
    __builtin_memcpy(&x, p, 4);
    return set1(x);
  }
  // For an odd k: the pair's second element lies outside the matrix, and counts as zero.
  VAJRA_INLINE A load_a_half(const char* p) { return load_a(p); }
  VAJRA_INLINE B load_b(const char* p) {
    if constexpr (W == DType::kF16) return load_f16(reinterpret_cast<const uint16_t*>(p));
    return load(reinterpret_cast<const float*>(p));
  }
  VAJRA_INLINE F step(F acc, A a, B b) { return fma(a, b, acc); }
};

// A pair's even element first, then its odd one.
template <>
struct Dot<DType::kBF16> {
  struct A {
    F even, odd;
  };
  using B = A;
  static constexpr int kBytes = 64;
  VAJRA_INLINE F bits(I v) {
    F x;
    __builtin_memcpy(&x, &v, sizeof x);
    return x;
  }
  VAJRA_INLINE A split(I pairs) { return {bits(pairs << 16), bits(pairs & int32_t(0xffff0000))}; }
  VAJRA_INLINE A load_a(const char* p) {
    int32_t pair;
    __builtin_memcpy(&pair, p, 4);
    return split(I{} + pair);
  }
  VAJRA_INLINE A load_a_half(const char* p) {
    uint16_t one;
    __builtin_memcpy(&one, p, 2);
    return split(I{} + int32_t(one));
  }
  VAJRA_INLINE B load_b(const char* p) {
    I pairs;
    __builtin_memcpy(&pairs, p, sizeof pairs);
    return split(pairs);
  }
  VAJRA_INLINE F step(F acc, A a, B b) { return fma(a.odd, b.odd, fma(a.even, b.even, acc)); }
};

// 64 int8 (int8_place: four k of 16 columns) as two operands B of bfloat16.
struct Int8Steps {
  Dot<DType::kBF16>::B step[2];
};
VAJRA_INLINE Int8Steps load_int8(const char* p) {
  Int8Steps b;
  for (int s = 0; s < 2; ++s) {
    for (int i = 0; i < 16; ++i) {
      b.step[s].even[i] = float(static_cast<signed char>(p[int8_place(2 * s, i)]));
      b.step[s].odd[i] = float(static_cast<signed char>(p[int8_place(2 * s + 1, i)]));
    }
  }
  return b;
}
// The pairs as 64 bytes of bfloat16, which hold them exactly.
VAJRA_INLINE void store_pairs(char* p, Dot<DType::kBF16>::B b) {
  I even, odd;
  __builtin_memcpy(&even, &b.even, sizeof even);
  __builtin_memcpy(&odd, &b.odd, sizeof odd);
  const I pairs = (even >> 16 & 0xffff) | odd;
  __builtin_memcpy(p, &pairs, sizeof pairs);
}

// Rows of a tile that widens int8 in registers, and panels for a number of rows.
constexpr int kInt8Rows = 4;
constexpr int int8_panels(int) { return 1; }

}  // namespace vajra::ops::VAJRA_ISA_NS
