// The model definition: one decoder forward pass over the op table, for any mix of prefill chunks and decodes.
#pragma once

#include <functional>

#include "engine/batch.h"
#include "engine/device.h"
#include "engine/kv_pool.h"
#include "engine/rope_table.h"
#include "engine/weights.h"

namespace vajra::engine {

class Forward {
 public:
  Forward(std::shared_ptr<const Weights> weights, const Options& options, Device& device);

  // Gets logits of output rows [first, first + n), float32 [n, vocab], valid during the call.
  using LogitsSink = std::function<void(int64_t first, int64_t n, const float* logits)>;

  // Writes the batch's KV and hands out the logits of its output rows, block by block in ascending order.
  void run(const Batch& batch, const LogitsSink& sink);

 private:
  // A region of the activation arena.
  template <class T>
  T* take(size_t elems);
  void gemm(const void* a, int64_t m, const ops::PackedMatrix& w, float* c, const float* bias, bool accumulate);
  void attention_block(const Batch& batch, int layer);
  void keep_output_rows(const Batch& batch);
  void mlp_block(const LayerWeights& layer, int64_t rows);
  void head(int64_t rows, const LogitsSink& sink);

  std::shared_ptr<const Weights> owner_;  // keeps the mapping that `weights_` points into
  ModelConfig config_;
  ModelWeights weights_;
  Device& device_;
  const ops::OpTable& ops_;
  KvCache kv_;
  RopeTable rope_;

  // Activations, sized for max_batch_tokens rows; pages are touched on first use.
  Mapping memory_;
  size_t used_ = 0;
  int64_t mlp_rows_, logit_rows_;  // rows that pass the MLP, or the head, at a time
  float* x_;                       // residual stream, [rows, hidden]
  std::byte *h_, *q_, *q_out_;     // act dtype: normed input; queries; queries of output rows
  std::byte *attn_, *act_;         // attention's output; silu(gate) * up
  float *qkv_, *gate_up_, *logits_;
};

}  // namespace vajra::engine
