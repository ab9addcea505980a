// Vectors of 16 floats on AVX-512 F, BW, VL, DQ, VBMI and BF16. See vec_scalar.h for what each function means.
#pragma once

#include <immintrin.h>

#include "ops/ops.h"

#ifndef VAJRA_ISA_NS  // a family that stands on these vectors has its own
#define VAJRA_ISA_NS avx512
#define VAJRA_ISA_NAME "avx512"
#endif
#define VAJRA_INLINE static inline __attribute__((always_inline))

namespace vajra::ops::VAJRA_ISA_NS {

using F = __m512;

// Registers for the microkernel: C holds rows x panels vectors; wide tiles for many rows, deep ones for few.
constexpr int kMaxRows = 6;
constexpr int max_panels(DType, int) { return 4; }

VAJRA_INLINE __mmask16 first(int n) { return __mmask16((1u << n) - 1); }

VAJRA_INLINE F zero() { return _mm512_setzero_ps(); }
VAJRA_INLINE F set1(float x) { return _mm512_set1_ps(x); }
VAJRA_INLINE F load(const float* p) { return _mm512_loadu_ps(p); }
VAJRA_INLINE F load_n(const float* p, int n) { return _mm512_maskz_loadu_ps(first(n), p); }
VAJRA_INLINE void store(float* p, F v) { _mm512_storeu_ps(p, v); }
VAJRA_INLINE void store_n(float* p, F v, int n) { _mm512_mask_storeu_ps(p, first(n), v); }
VAJRA_INLINE F select_n(F v, F rest, int n) { return _mm512_mask_mov_ps(rest, first(n), v); }

VAJRA_INLINE F add(F a, F b) { return _mm512_add_ps(a, b); }
VAJRA_INLINE F sub(F a, F b) { return _mm512_sub_ps(a, b); }
VAJRA_INLINE F mul(F a, F b) { return _mm512_mul_ps(a, b); }
VAJRA_INLINE F div(F a, F b) { return _mm512_div_ps(a, b); }
VAJRA_INLINE F fma(F a, F b, F c) { return _mm512_fmadd_ps(a, b, c); }
VAJRA_INLINE F max(F a, F b) { return _mm512_max_ps(a, b); }
VAJRA_INLINE F min(F a, F b) { return _mm512_min_ps(a, b); }
VAJRA_INLINE F round(F a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
VAJRA_INLINE F zero_below(F v, F x, F limit) {
  return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(x, limit, _CMP_NLT_UQ), v);
}
VAJRA_INLINE F scale2(F v, F n) {
  const __m512i shift = _mm512_slli_epi32(_mm512_cvtps_epi32(n), 23);
  return _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(v), shift));
}

VAJRA_INLINE float hsum(F v) {
  const __m256 a = _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
  const __m128 b = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  const __m128 c = _mm_add_ps(b, _mm_movehl_ps(b, b));
  return _mm_cvtss_f32(_mm_add_ss(c, _mm_movehdup_ps(c)));
}
VAJRA_INLINE float hmax(F v) {
  const __m256 a = _mm256_max_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
  const __m128 b = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  const __m128 c = _mm_max_ps(b, _mm_movehl_ps(b, b));
  return _mm_cvtss_f32(_mm_max_ss(c, _mm_movehdup_ps(c)));
}

VAJRA_INLINE F load_bf16(const uint16_t* p) {
  const __m256i bits = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
}
VAJRA_INLINE F load_f16(const uint16_t* p) {
  return _mm512_maskz_cvtph_ps(0xffff, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
VAJRA_INLINE void store_bf16_n(uint16_t* p, F v, int n) {
  _mm256_mask_storeu_epi16(p, first(n), (__m256i)_mm512_cvtneps_pbh(v));
}
VAJRA_INLINE void store_f16_n(uint16_t* p, F v, int n) {
  _mm256_mask_storeu_epi16(p, first(n), _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}

VAJRA_INLINE void prefetch(const void* p) { _mm_prefetch(static_cast<const char*>(p), _MM_HINT_T0); }

// The microkernel's k step; f16 weights are widened and multiplied as float32.
template <DType W>
struct Dot {
  using A = F;
  using B = F;
  static constexpr int kBytes = W == DType::kF16 ? 32 : 64;
  VAJRA_INLINE A load_a(const char* p) { return _mm512_set1_ps(*reinterpret_cast<const float*>(p)); }
  VAJRA_INLINE A load_a_half(const char* p) { return load_a(p); }
  VAJRA_INLINE B load_b(const char* p) {
    if constexpr (W == DType::kF16) return load_f16(reinterpret_cast<const uint16_t*>(p));
    return _mm512_loadu_ps(p);
  }
  VAJRA_INLINE F step(F acc, A a, B b) { return _mm512_fmadd_ps(a, b, acc); }
};

template <>
struct Dot<DType::kBF16> {
  using A = __m512bh;
  using B = __m512bh;
  static constexpr int kBytes = 64;
  VAJRA_INLINE A load_a(const char* p) {
    int pair;
    __builtin_memcpy(&pair, p, 4);
    return (A)_mm512_set1_epi32(pair);
  }
  VAJRA_INLINE A load_a_half(const char* p) {
    uint16_t one;
    __builtin_memcpy(&one, p, 2);
    return (A)_mm512_set1_epi32(one);
  }
  VAJRA_INLINE B load_b(const char* p) { return (B)_mm512_loadu_si512(p); }
  VAJRA_INLINE F step(F acc, A a, B b) { return _mm512_dpbf16_ps(acc, a, b); }
};

// The even and the odd elements of 16 pairs of bfloat16.
VAJRA_INLINE F widen_even(const char* p) { return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_loadu_si512(p), 16)); }
VAJRA_INLINE F widen_odd(const char* p) {
  return _mm512_castsi512_ps(_mm512_and_si512(_mm512_loadu_si512(p), _mm512_set1_epi32(int(0xffff0000))));
}

// Two k steps of int8 weights as operands B of bfloat16.
struct Int8Steps {
  __m512bh step[2];
};
// The bfloat16 of 0 to 127, low and high bytes.
struct Int8Table {
  alignas(64) uint8_t low[128], high[128];
};
static constexpr Int8Table int8_table() {
  Int8Table t{};
  for (int m = 1, e = 0; m < 128; ++m) {
    if (m >> (e + 1) != 0) ++e;
    const int bits = (127 + e) << 7 | ((m << (7 - e)) & 0x7f);
    t.low[m] = uint8_t(bits & 0xff);
    t.high[m] = uint8_t(bits >> 8);
  }
  return t;
}
static constexpr Int8Table kInt8Table = int8_table();
VAJRA_INLINE Int8Steps load_int8(const char* p) {
  const auto look_up = [](const uint8_t* table, __m512i m) {
    return _mm512_permutex2var_epi8(_mm512_load_si512(table), m, _mm512_load_si512(table + 64));
  };
  const __m512i q = _mm512_loadu_si512(p), m = _mm512_abs_epi8(q);
  const __m512i low = look_up(kInt8Table.low, m);
  // high | (q & sign)
  const __m512i high = _mm512_ternarylogic_epi64(look_up(kInt8Table.high, m), q, _mm512_set1_epi8(-128), 0xf8);
  return {{(__m512bh)_mm512_unpacklo_epi8(low, high), (__m512bh)_mm512_unpackhi_epi8(low, high)}};
}
VAJRA_INLINE void store_pairs(char* p, __m512bh pairs) { _mm512_storeu_si512(p, (__m512i)pairs); }

// Rows of a tile that widens int8 in registers, and panels for a number of rows.
constexpr int kInt8Rows = 8;
constexpr int int8_panels(int rows) { return rows <= 4 ? 4 : 2; }

}  // namespace vajra::ops::VAJRA_ISA_NS
