// What the engine is told once: the model's shapes and the pool's and batches' sizes.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "ops/ops.h"

namespace vajra::engine {

// Part of the fingerprint: raised whenever a change of forward pass or sampler may change a bit.
constexpr int kNumericsVersion = ops::kFixedOrder ? 1 : 0;

struct ModelConfig {
  int64_t vocab_size = 0, hidden_size = 0, intermediate_size = 0;
  int num_layers = 0, num_heads = 0, num_kv_heads = 0, head_dim = 0;
  float rms_norm_eps = 0;
  bool tie_embeddings = false, qkv_bias = false, qk_norm = false;
  ops::DType dtype = ops::DType::kF32;
  bool int8 = false;            // matrices are kept in int8 (ops::pack_int8_rows)
  std::vector<float> inv_freq;  // head_dim / 2
  float attention_factor = 1;

  int64_t q_width() const { return int64_t(num_heads) * head_dim; }
  int64_t kv_width() const { return int64_t(num_kv_heads) * head_dim; }
  int64_t qkv_width() const { return q_width() + 2 * kv_width(); }
  ops::DType act() const { return ops::act_dtype(dtype); }
  // Bytes of one KV block over all layers.
  size_t kv_block_bytes(int block_size) const {
    return size_t(num_layers) * 2 * size_t(kv_width()) * size_t(block_size) * ops::dtype_size(dtype);
  }
  // Throws std::invalid_argument for shapes that the kernels cannot run, naming the field.
  void check() const;
};

struct Options {
  int64_t num_blocks = 0;
  int block_size = 16;
  int64_t max_model_len = 0;
  int64_t max_batch_size = 0;
  int64_t max_batch_tokens = 0;
  int num_threads = 0;  // 0: the cgroup's CPU quota

  void check() const;
};

}  // namespace vajra::engine
