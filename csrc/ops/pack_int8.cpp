// Quantisation of weights into int8 panels: runs once per model, on any processor.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "ops/convert.h"
#include "ops/ops.h"

namespace vajra::ops {
namespace {

// To the nearest integer, ties to even, for |x| < 2^22: the adder rounds.
float nearest(float x) { return (x + 0x1.8p23f) - 0x1.8p23f; }

// Quantises one group of a row, n <= kInt8Group values; returns the scale. The other q are zero.
float quantise(const float* w, int64_t n, int8_t* q) {
  float most = 0;
  bool finite = true;
  for (int64_t i = 0; i < n; ++i) {
    most = std::max(most, std::fabs(w[i]));
    finite = finite && std::isfinite(w[i]);
  }
  std::memset(q, 0, kInt8Group);
  if (!finite) return NAN;  // damaged weights show in the first logits
  const float scale = most / 127;
  if (scale == 0) return 0;
  // A subnormal scale is coarse: its quotients may pass 127.
  for (int64_t i = 0; i < n; ++i) q[i] = int8_t(nearest(std::clamp(w[i] / scale, -127.0f, 127.0f)));
  return scale;
}

}  // namespace

void pack_int8_rows(void* dst, int64_t n, int64_t k, int64_t row0, int64_t rows, const void* src, DType src_dtype) {
  const int64_t groups = (k + kInt8Group - 1) / kInt8Group;
  for (int64_t r = row0; r < row0 + rows;) {
    const int64_t lane0 = r % kPanel, lanes = std::min(row0 + rows - r, kPanel - lane0);
    const int64_t end = r + lanes == n ? kPanel : lane0 + lanes;  // lanes beyond the last row are zero
    char* group = static_cast<char*>(dst) + r / kPanel * groups * int64_t(kInt8GroupBytes);
    for (int64_t k0 = 0; k0 < k; k0 += kInt8Group, group += kInt8GroupBytes) {
      const int64_t len = std::min<int64_t>(kInt8Group, k - k0);
      float scales[kPanel] = {};
      int8_t q[kPanel][kInt8Group] = {};
      for (int64_t lane = 0; lane < lanes; ++lane) {
        float w[kInt8Group];
        widen(src, src_dtype, (r - row0 + lane) * k + k0, len, w);
        scales[lane] = quantise(w, len, q[lane]);
      }
      std::memcpy(group + size_t(lane0) * sizeof(float), scales, size_t(end - lane0) * sizeof(float));
      char* out = group + kPanel * sizeof(float);
      for (int i = 0; i < kInt8Group; i += 2) {
        for (int lane = int(lane0); lane < int(end); ++lane) {
          std::memcpy(out + int8_place(i, lane), &q[lane - lane0][i], 2);
        }
      }
    }
    r += lanes;
  }
}

}  // namespace vajra::ops
