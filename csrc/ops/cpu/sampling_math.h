// exp and log for sampling, in plain IEEE double operations: the same bits whatever the C library or vector width.
#pragma once

#include <cstdint>

namespace vajra::sampling {

// w[i] = exp((z[i] - zmax) * inv_t), 0 below exp(-700).
void exp_weights(const float* z, int64_t n, double zmax, double inv_t, double* w);

// One such weight, the same bits as exp_weights gives.
double exp_weight(float z, double zmax, double inv_t);

// Natural logarithm of a finite x >= 1.
double log_of(double x);

// Largest value and its lowest index (NaN never wins), and whether all values are finite.
struct Peak {
  float value;
  int32_t index;
  bool finite;
};
Peak peak(const float* z, int64_t n);

}  // namespace vajra::sampling
