#include "ops/cpu/sampling_math.h"

#include <bit>
#include <cmath>
#include <limits>

// Wider vectors change no bit here (contraction is off, every lane is independent), so the compiler may clone freely.
// Sanitizers cannot run code before they are set up, which is when a clone's resolver runs.
#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) && !defined(VAJRA_NO_CLONES)
#define VAJRA_CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define VAJRA_CLONES
#endif

namespace vajra::sampling {
namespace {

// exp(x) for x in [-700, 0]: 2^k * e^r with |r| <= ln2 / 2 and a Taylor polynomial of degree 13.
inline __attribute__((always_inline)) double exp_small(double x) {
  constexpr double kLog2E = 0x1.71547652b82fep+0;
  constexpr double kLn2Hi = 0x1.62e42fefa0000p-1, kLn2Lo = 0x1.cf79abc9e3b3ap-40;
  constexpr double kShift = 0x1.8p52;  // adding it leaves round(x) in the low bits
  const double clamped = x < -700.0 ? -700.0 : x;
  const double shifted = clamped * kLog2E + kShift;
  const double k = shifted - kShift;
  const double r = (clamped - k * kLn2Hi) - k * kLn2Lo;
  double p = 1.0 / 6227020800.0;
  p = p * r + 1.0 / 479001600.0;
  p = p * r + 1.0 / 39916800.0;
  p = p * r + 1.0 / 3628800.0;
  p = p * r + 1.0 / 362880.0;
  p = p * r + 1.0 / 40320.0;
  p = p * r + 1.0 / 5040.0;
  p = p * r + 1.0 / 720.0;
  p = p * r + 1.0 / 120.0;
  p = p * r + 1.0 / 24.0;
  p = p * r + 1.0 / 6.0;
  p = p * r + 0.5;
  p = p * r + 1.0;
  p = p * r + 1.0;
  const double scale = std::bit_cast<double>((std::bit_cast<uint64_t>(shifted) + 1023) << 52);
  return x < -700.0 ? 0.0 : p * scale;
}

}  // namespace

VAJRA_CLONES void exp_weights(const float* z, int64_t n, double zmax, double inv_t, double* w) {
  for (int64_t i = 0; i < n; ++i) w[i] = exp_small((double(z[i]) - zmax) * inv_t);
}

double exp_weight(float z, double zmax, double inv_t) { return exp_small((double(z) - zmax) * inv_t); }

double log_of(double x) {
  int e = 0;
  double m = std::frexp(x, &e);  // [0.5, 1)
  if (m < 0x1.6a09e667f3bcdp-1) {
    m *= 2;
    --e;
  }
  const double f = (m - 1) / (m + 1), s = f * f;
  double p = 0;
  for (int k = 23; k >= 1; k -= 2) p = p * s + 1.0 / k;
  return e * 0x1.62e42fefa39efp-1 + 2 * f * p;
}

VAJRA_CLONES Peak peak(const float* z, int64_t n) {
  // Lane j sees indices j, j + 16, …; the strict comparison keeps the lowest index of each lane.
  constexpr int kLanes = 16;
  constexpr float kLargest = std::numeric_limits<float>::max();
  float best[kLanes];
  int32_t at[kLanes], odd[kLanes];
  for (int j = 0; j < kLanes; ++j) best[j] = -std::numeric_limits<float>::infinity(), at[j] = INT32_MAX, odd[j] = 0;
  const int64_t whole = n / kLanes * kLanes;
  for (int64_t i = 0; i < whole; i += kLanes) {
    for (int j = 0; j < kLanes; ++j) {
      const bool better = z[i + j] > best[j];
      best[j] = better ? z[i + j] : best[j];
      at[j] = better ? int32_t(i) + j : at[j];
      odd[j] |= std::fabs(z[i + j]) <= kLargest ? 0 : 1;
    }
  }
  Peak top{-std::numeric_limits<float>::infinity(), INT32_MAX, true};
  for (int j = 0; j < kLanes; ++j) {
    if (best[j] > top.value || (best[j] == top.value && at[j] < top.index)) top.value = best[j], top.index = at[j];
    top.finite &= odd[j] == 0;
  }
  for (int64_t i = whole; i < n; ++i) {
    if (z[i] > top.value) top.value = z[i], top.index = int32_t(i);
    top.finite &= std::fabs(z[i]) <= kLargest;
  }
  if (top.index == INT32_MAX) top.index = 0;  // nothing above -inf
  return top;
}

}  // namespace vajra::sampling
