// Vectors of 16 floats on AVX2, FMA and F16C. See vec_scalar.h for what each function means.
#pragma once

#include <immintrin.h>

#include "ops/ops.h"

#define VAJRA_ISA_NS avx2
#define VAJRA_ISA_NAME "avx2"
#define VAJRA_INLINE static inline __attribute__((always_inline))

namespace vajra::ops::avx2 {

struct F {
  __m256 lo, hi;
};

// Registers for the microkernel: rows x panels accumulators of two registers each, of 16.
constexpr int kMaxRows = 4;
constexpr int max_panels(DType w, int rows) { return rows == 1 ? (w == DType::kBF16 ? 2 : 4) : rows == 2 ? 2 : 1; }

// Lane i of half h takes part when 8 h + i < n.
VAJRA_INLINE __m256i first(int n, int half) {
  const __m256i lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(n - 8 * half), lanes);
}

VAJRA_INLINE F zero() { return {_mm256_setzero_ps(), _mm256_setzero_ps()}; }
VAJRA_INLINE F set1(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
VAJRA_INLINE F load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
VAJRA_INLINE F load_n(const float* p, int n) {
  return {_mm256_maskload_ps(p, first(n, 0)), _mm256_maskload_ps(p + 8, first(n, 1))};
}
VAJRA_INLINE void store(float* p, F v) {
  _mm256_storeu_ps(p, v.lo);
  _mm256_storeu_ps(p + 8, v.hi);
}
VAJRA_INLINE void store_n(float* p, F v, int n) {
  _mm256_maskstore_ps(p, first(n, 0), v.lo);
  _mm256_maskstore_ps(p + 8, first(n, 1), v.hi);
}
VAJRA_INLINE F select_n(F v, F rest, int n) {
  return {_mm256_blendv_ps(rest.lo, v.lo, _mm256_castsi256_ps(first(n, 0))),
          _mm256_blendv_ps(rest.hi, v.hi, _mm256_castsi256_ps(first(n, 1)))};
}

VAJRA_INLINE F add(F a, F b) { return {_mm256_add_ps(a.lo, b.lo), _mm256_add_ps(a.hi, b.hi)}; }
VAJRA_INLINE F sub(F a, F b) { return {_mm256_sub_ps(a.lo, b.lo), _mm256_sub_ps(a.hi, b.hi)}; }
VAJRA_INLINE F mul(F a, F b) { return {_mm256_mul_ps(a.lo, b.lo), _mm256_mul_ps(a.hi, b.hi)}; }
VAJRA_INLINE F div(F a, F b) { return {_mm256_div_ps(a.lo, b.lo), _mm256_div_ps(a.hi, b.hi)}; }
VAJRA_INLINE F fma(F a, F b, F c) { return {_mm256_fmadd_ps(a.lo, b.lo, c.lo), _mm256_fmadd_ps(a.hi, b.hi, c.hi)}; }
VAJRA_INLINE F max(F a, F b) { return {_mm256_max_ps(a.lo, b.lo), _mm256_max_ps(a.hi, b.hi)}; }
VAJRA_INLINE F min(F a, F b) { return {_mm256_min_ps(a.lo, b.lo), _mm256_min_ps(a.hi, b.hi)}; }
VAJRA_INLINE F round(F a) {
  constexpr int kNearest = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
  return {_mm256_round_ps(a.lo, kNearest), _mm256_round_ps(a.hi, kNearest)};
}
VAJRA_INLINE F zero_below(F v, F x, F limit) {
  return {_mm256_and_ps(v.lo, _mm256_cmp_ps(x.lo, limit.lo, _CMP_NLT_UQ)),
          _mm256_and_ps(v.hi, _mm256_cmp_ps(x.hi, limit.hi, _CMP_NLT_UQ))};
}
VAJRA_INLINE __m256 scale2_half(__m256 v, __m256 n) {
  const __m256i shift = _mm256_slli_epi32(_mm256_cvtps_epi32(n), 23);
  return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(v), shift));
}
VAJRA_INLINE F scale2(F v, F n) { return {scale2_half(v.lo, n.lo), scale2_half(v.hi, n.hi)}; }

VAJRA_INLINE float hsum(F v) {
  const __m256 a = _mm256_add_ps(v.lo, v.hi);
  const __m128 b = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  const __m128 c = _mm_add_ps(b, _mm_movehl_ps(b, b));
  return _mm_cvtss_f32(_mm_add_ss(c, _mm_movehdup_ps(c)));
}
VAJRA_INLINE float hmax(F v) {
  const __m256 a = _mm256_max_ps(v.lo, v.hi);
  const __m128 b = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  const __m128 c = _mm_max_ps(b, _mm_movehl_ps(b, b));
  return _mm_cvtss_f32(_mm_max_ss(c, _mm_movehdup_ps(c)));
}

VAJRA_INLINE __m256 widen_bf16(const uint16_t* p) {
  const __m128i bits = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
}
VAJRA_INLINE F load_bf16(const uint16_t* p) { return {widen_bf16(p), widen_bf16(p + 8)}; }
VAJRA_INLINE F load_f16(const uint16_t* p) {
  return {_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))),
          _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p + 8)))};
}

// Round to nearest even; a NaN stays one.
VAJRA_INLINE __m128i narrow_bf16(__m256 v) {
  const __m256i bits = _mm256_castps_si256(v);
  const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
  const __m256i rounded = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
  const __m256i quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x400000));
  const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(v, v, _CMP_UNORD_Q));
  const __m256i wide = _mm256_srli_epi32(_mm256_blendv_epi8(rounded, quiet, nan), 16);
  return _mm_packus_epi32(_mm256_castsi256_si128(wide), _mm256_extracti128_si256(wide, 1));
}
VAJRA_INLINE void store_u16_n(uint16_t* p, __m128i lo, __m128i hi, int n) {
  if (n == 16) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), lo);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p + 8), hi);
  } else {
    uint16_t lanes[16];
    _mm_storeu_si128(reinterpret_cast<__m128i*>(lanes), lo);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(lanes + 8), hi);
    for (int i = 0; i < n; ++i) p[i] = lanes[i];
  }
}
VAJRA_INLINE void store_bf16_n(uint16_t* p, F v, int n) { store_u16_n(p, narrow_bf16(v.lo), narrow_bf16(v.hi), n); }
VAJRA_INLINE void store_f16_n(uint16_t* p, F v, int n) {
  constexpr int kNearest = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
  store_u16_n(p, _mm256_cvtps_ph(v.lo, kNearest), _mm256_cvtps_ph(v.hi, kNearest), n);
}

VAJRA_INLINE void prefetch(const void* p) { _mm_prefetch(static_cast<const char*>(p), _MM_HINT_T0); }

template <DType W>
struct Dot {
  using A = __m256;
  using B = F;
  static constexpr int kBytes = W == DType::kF16 ? 32 : 64;
  VAJRA_INLINE A load_a(const char* p) { return _mm256_broadcast_ss(reinterpret_cast<const float*>(p)); }
  VAJRA_INLINE A load_a_half(const char* p) { return load_a(p); }
  VAJRA_INLINE B load_b(const char* p) {
    if constexpr (W == DType::kF16) return load_f16(reinterpret_cast<const uint16_t*>(p));
    return load(reinterpret_cast<const float*>(p));
  }
  VAJRA_INLINE F step(F acc, A a, B b) { return {_mm256_fmadd_ps(a, b.lo, acc.lo), _mm256_fmadd_ps(a, b.hi, acc.hi)}; }
};

// A pair's even element is multiplied first, then its odd one, each a float32 FMA.
template <>
struct Dot<DType::kBF16> {
  struct A {
    __m256 even, odd;
  };
  struct B {
    F even, odd;
  };
  static constexpr int kBytes = 64;
  VAJRA_INLINE __m256 even(__m256i pairs) { return _mm256_castsi256_ps(_mm256_slli_epi32(pairs, 16)); }
  VAJRA_INLINE __m256 odd(__m256i pairs) {
    return _mm256_castsi256_ps(_mm256_and_si256(pairs, _mm256_set1_epi32(int(0xffff0000))));
  }
  VAJRA_INLINE A load_a(const char* p) {
    const __m256i pairs = _mm256_castps_si256(_mm256_broadcast_ss(reinterpret_cast<const float*>(p)));
    return {even(pairs), odd(pairs)};
  }
  VAJRA_INLINE A load_a_half(const char* p) {
    uint16_t one;
    __builtin_memcpy(&one, p, 2);
    const __m256i pairs = _mm256_set1_epi32(one);
    return {even(pairs), odd(pairs)};
  }
  VAJRA_INLINE B load_b(const char* p) {
    const __m256i lo = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
    const __m256i hi = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p + 32));
    return {{even(lo), even(hi)}, {odd(lo), odd(hi)}};
  }
  VAJRA_INLINE F step(F acc, A a, B b) {
    acc = {_mm256_fmadd_ps(a.even, b.even.lo, acc.lo), _mm256_fmadd_ps(a.even, b.even.hi, acc.hi)};
    return {_mm256_fmadd_ps(a.odd, b.odd.lo, acc.lo), _mm256_fmadd_ps(a.odd, b.odd.hi, acc.hi)};
  }
};

struct Int8Steps {
  Dot<DType::kBF16>::B step[2];
};
VAJRA_INLINE Int8Steps load_int8(const char* p) {
  const auto pairs = [](const char* q) {  // of eight columns, each in a lane
    const __m128d four = _mm_load_sd(reinterpret_cast<const double*>(q));
    return _mm256_cvtepi16_epi32(_mm_castpd_si128(_mm_loadh_pd(four, reinterpret_cast<const double*>(q + 16))));
  };
  const auto even = [](__m256i x) { return _mm256_cvtepi32_ps(_mm256_srai_epi32(_mm256_slli_epi32(x, 24), 24)); };
  const auto odd = [](__m256i x) { return _mm256_cvtepi32_ps(_mm256_srai_epi32(x, 8)); };
  const auto step = [&](const char* q) -> Dot<DType::kBF16>::B {
    const __m256i lo = pairs(q), hi = pairs(q + 32);
    return {{even(lo), even(hi)}, {odd(lo), odd(hi)}};
  };
  return {{step(p), step(p + 8)}};
}
VAJRA_INLINE void store_pairs(char* p, Dot<DType::kBF16>::B b) {
  const auto join = [](__m256 even, __m256 odd) {
    return _mm256_or_si256(_mm256_srli_epi32(_mm256_castps_si256(even), 16), _mm256_castps_si256(odd));
  };
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), join(b.even.lo, b.odd.lo));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p + 32), join(b.even.hi, b.odd.hi));
}

constexpr int kInt8Rows = 4;
constexpr int int8_panels(int rows) { return rows == 1 ? 2 : 1; }

}  // namespace vajra::ops::avx2
