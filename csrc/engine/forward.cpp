#include "engine/forward.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace vajra::engine {
namespace {

// Bounds of the two widest buffers. No row's bits depend on how many rows pass at a time.
constexpr int64_t kGateUpFloats = 16 << 20;  // 64 MiB
constexpr int64_t kLogitFloats = 16 << 20;

int64_t rows_within(int64_t budget, int64_t width, int64_t most) {
  return std::clamp(budget / width, std::min<int64_t>(8, most), most);
}

}  // namespace

template <class T>
T* Forward::take(size_t elems) {
  T* p = reinterpret_cast<T*>(memory_.data() + used_);
  used_ = (used_ + elems * sizeof(T) + 4095) / 4096 * 4096;
  return p;
}

Forward::Forward(std::shared_ptr<const Weights> weights, const Options& options, Device& device)
    : owner_(std::move(weights)),
      config_(owner_->config()),
      weights_(owner_->view()),
      device_(device),
      ops_(device.ops()),
      kv_(config_, options),
      rope_(config_, options.max_model_len) {
  const size_t m = size_t(options.max_batch_tokens), act = ops::dtype_size(config_.act());
  const size_t hidden = size_t(config_.hidden_size), q = size_t(config_.q_width());
  const size_t f = size_t(config_.intermediate_size);
  mlp_rows_ = rows_within(kGateUpFloats, int64_t(2 * f), int64_t(m));
  logit_rows_ = rows_within(kLogitFloats, config_.vocab_size, int64_t(m));
  // Two passes: the first over a null arena only counts.
  for (int pass = 0; pass < 2; ++pass) {
    if (pass == 1) memory_ = Mapping::anonymous(used_), used_ = 0;
    x_ = take<float>(m * hidden);
    h_ = take<std::byte>(m * hidden * act);
    q_ = take<std::byte>(m * q * act), q_out_ = take<std::byte>(m * q * act), attn_ = take<std::byte>(m * q * act);
    qkv_ = take<float>(m * size_t(config_.qkv_width()));
    gate_up_ = take<float>(size_t(mlp_rows_) * 2 * f), act_ = take<std::byte>(size_t(mlp_rows_) * f * act);
    logits_ = take<float>(size_t(logit_rows_) * size_t(config_.vocab_size));
  }
}

void Forward::gemm(const void* a, int64_t m, const ops::PackedMatrix& w, float* c, const float* bias,
                   bool accumulate) {
  ops::GemmArgs args;
  args.a = a, args.m = m, args.lda = w.k;
  args.w = w, args.bias = bias;
  args.c = c, args.ldc = w.n, args.accumulate = accumulate;
  ops_.gemm(device_.context(), args);
}

void Forward::run(const Batch& batch, const LogitsSink& sink) {
  if (batch.rows() == 0) return;
  rope_.grow(batch.end_position());
  ops_.embedding(device_.context(), weights_.embed, batch.ids.data(), batch.rows(), x_);
  const int last = config_.num_layers - 1;
  for (int layer = 0; layer < last; ++layer) {
    attention_block(batch, layer);
    mlp_block(weights_.layers[size_t(layer)], batch.rows());
  }
  // Beyond the last layer's KV only output rows matter, so a chunk inside a prompt ends there.
  attention_block(batch, last);
  const int64_t rows = int64_t(batch.out_rows.size());
  if (rows == 0) return;
  mlp_block(weights_.layers[size_t(last)], rows);
  head(rows, sink);
}

void Forward::attention_block(const Batch& batch, int layer) {
  const LayerWeights& w = weights_.layers[size_t(layer)];
  ops::Context& ctx = device_.context();
  const int64_t m = batch.rows();
  ops_.rmsnorm(ctx, x_, nullptr, m, config_.hidden_size, w.input_norm, config_.rms_norm_eps, h_, config_.act());
  gemm(h_, m, w.qkv, qkv_, w.qkv_bias, false);

  ops::RopeKvArgs rope;
  rope.qkv = qkv_, rope.m = m, rope.num_heads = config_.num_heads;
  rope.q_norm = w.q_norm, rope.k_norm = w.k_norm, rope.eps = config_.rms_norm_eps;
  rope.cos_sin = rope_.data(), rope.positions = batch.positions.data();
  rope.seqs = batch.seqs.data(), rope.num_seqs = int(batch.seqs.size());
  rope.kv = kv_.layer(layer), rope.q_out = q_;
  ops_.rope_kv(ctx, rope);

  const bool last = layer == config_.num_layers - 1;
  if (last) keep_output_rows(batch);
  ops::AttentionArgs attn;
  attn.q = last ? q_out_ : q_, attn.num_heads = config_.num_heads;
  attn.scale = float(1.0 / std::sqrt(double(config_.head_dim)));
  const auto& seqs = last ? batch.out_slices : batch.seqs;
  attn.seqs = seqs.data(), attn.num_seqs = int(seqs.size());
  attn.m = last ? int64_t(batch.out_rows.size()) : m;
  attn.kv = rope.kv, attn.out = attn_;
  if (attn.m == 0) return;
  ops_.attention(ctx, attn);
  gemm(attn_, attn.m, w.o, x_, nullptr, true);
}

// Moves the residual of the output rows to the front of the stream (row i comes from out_rows[i] >= i) and gathers
// their queries.
void Forward::keep_output_rows(const Batch& batch) {
  const size_t hidden = size_t(config_.hidden_size);
  const size_t q_bytes = size_t(config_.q_width()) * ops::dtype_size(config_.act());
  for (size_t i = 0; i < batch.out_rows.size(); ++i) {
    const size_t row = size_t(batch.out_rows[i]);
    if (row != i) std::memcpy(x_ + i * hidden, x_ + row * hidden, hidden * sizeof(float));
    std::memcpy(q_out_ + i * q_bytes, q_ + row * q_bytes, q_bytes);
  }
}

void Forward::mlp_block(const LayerWeights& w, int64_t rows) {
  ops::Context& ctx = device_.context();
  const int64_t f = config_.intermediate_size;
  for (int64_t r = 0; r < rows; r += mlp_rows_) {
    const int64_t m = std::min(mlp_rows_, rows - r);
    float* x = x_ + r * config_.hidden_size;
    ops_.rmsnorm(ctx, x, nullptr, m, config_.hidden_size, w.post_norm, config_.rms_norm_eps, h_, config_.act());
    gemm(h_, m, w.gate_up, gate_up_, nullptr, false);
    ops_.silu_mul(ctx, gate_up_, m, f, act_, config_.act());
    gemm(act_, m, w.down, x, nullptr, true);
  }
}

void Forward::head(int64_t rows, const LogitsSink& sink) {
  for (int64_t r = 0; r < rows; r += logit_rows_) {
    const int64_t m = std::min(logit_rows_, rows - r);
    ops_.rmsnorm(device_.context(), x_ + r * config_.hidden_size, nullptr, m, config_.hidden_size,
                 weights_.final_norm, config_.rms_norm_eps, h_, config_.act());
    gemm(h_, m, weights_.lm_head, logits_, nullptr, false);
    sink(r, m, logits_);
  }
}

}  // namespace vajra::engine
