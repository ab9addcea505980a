// cos and sin of every position in use, [position][head_dim]: head_dim / 2 cosines, then as many sines.
#pragma once

#include <cstdint>

#include "engine/config.h"
#include "engine/mapping.h"

namespace vajra::engine {

class RopeTable {
 public:
  RopeTable(const ModelConfig& config, int64_t max_model_len);
  // Makes positions [0, end) available.
  void grow(int64_t end);
  const float* data() const { return reinterpret_cast<const float*>(memory_.data()); }

 private:
  std::vector<float> inv_freq_;
  float factor_;
  int64_t limit_, ready_ = 0;
  Mapping memory_;
};

}  // namespace vajra::engine
