#include "engine/rope_table.h"

#include <algorithm>
#include <cmath>

namespace vajra::engine {

RopeTable::RopeTable(const ModelConfig& config, int64_t max_model_len)
    : inv_freq_(config.inv_freq),
      factor_(config.attention_factor),
      limit_(max_model_len),
      memory_(Mapping::anonymous(size_t(max_model_len) * size_t(config.head_dim) * sizeof(float))) {}

void RopeTable::grow(int64_t end) {
  if (end <= ready_) return;
  constexpr int64_t kStride = 256;  // positions at a time: decodes grow it rarely, short use stays cheap
  end = std::min(limit_, (end + kStride - 1) / kStride * kStride);
  const size_t half = inv_freq_.size();
  float* table = reinterpret_cast<float*>(memory_.data());
  for (int64_t p = ready_; p < end; ++p) {
    float* row = table + size_t(p) * half * 2;
    for (size_t i = 0; i < half; ++i) {
      const float angle = float(p) * inv_freq_[i];  // rounded to float32, as checkpoints were trained with
      row[i] = float(std::cos(double(angle))) * factor_;
      row[half + i] = float(std::sin(double(angle))) * factor_;
    }
  }
  ready_ = end;
}

}  // namespace vajra::engine
