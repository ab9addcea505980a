// The arena's layout and its view as matrices: one walk over the model, so that the two cannot disagree.
#include <stdexcept>

#include "engine/weights.h"

namespace vajra::engine {
namespace {

constexpr size_t kAlign = 64;

// Hands out aligned places in the arena and notes which tensor goes where.
struct Walk {
  const ModelConfig& config;
  const std::byte* base;     // null while only laying out
  std::vector<Slot>* slots;  // null while only viewing
  size_t end = 0;

  size_t take(size_t bytes) {
    const size_t at = end;
    end = (end + bytes + kAlign - 1) / kAlign * kAlign;
    return at;
  }
  void note(const std::string& name, size_t offset, int64_t n, int64_t k, int64_t row0, int64_t rows) {
    if (slots != nullptr) slots->push_back({name, offset, n, k, row0, rows});
  }
  ops::PackedMatrix matrix(int64_t k, std::initializer_list<std::pair<std::string, int64_t>> stacked) {
    int64_t n = 0;
    for (auto& [name, rows] : stacked) n += rows;
    const size_t at = take(config.int8 ? ops::int8_bytes(n, k) : ops::packed_bytes(config.dtype, n, k));
    int64_t row = 0;
    for (auto& [name, rows] : stacked) note(name, at, n, k, row, rows), row += rows;
    return {base != nullptr ? base + at : nullptr, n, k, config.dtype, config.int8};
  }
  const float* vector(std::initializer_list<std::pair<std::string, int64_t>> stacked) {
    int64_t n = 0;
    for (auto& [name, rows] : stacked) n += rows;
    const size_t at = take(size_t(n) * sizeof(float));
    int64_t row = 0;
    for (auto& [name, rows] : stacked) note(name, at, n, 0, row, rows), row += rows;
    return base != nullptr ? reinterpret_cast<const float*>(base + at) : nullptr;
  }
};

ModelWeights walk_model(Walk& w) {
  const ModelConfig& c = w.config;
  const int64_t h = c.hidden_size, q = c.q_width(), kv = c.kv_width(), f = c.intermediate_size;
  ModelWeights m;
  m.embed = w.matrix(h, {{"model.embed_tokens.weight", c.vocab_size}});
  for (int i = 0; i < c.num_layers; ++i) {
    const std::string layer = "model.layers." + std::to_string(i) + ".";
    const std::string attn = layer + "self_attn.", mlp = layer + "mlp.";
    LayerWeights l;
    l.input_norm = w.vector({{layer + "input_layernorm.weight", h}});
    l.qkv = w.matrix(h, {{attn + "q_proj.weight", q}, {attn + "k_proj.weight", kv}, {attn + "v_proj.weight", kv}});
    if (c.qkv_bias)
      l.qkv_bias = w.vector({{attn + "q_proj.bias", q}, {attn + "k_proj.bias", kv}, {attn + "v_proj.bias", kv}});
    if (c.qk_norm) {
      l.q_norm = w.vector({{attn + "q_norm.weight", c.head_dim}});
      l.k_norm = w.vector({{attn + "k_norm.weight", c.head_dim}});
    }
    l.o = w.matrix(q, {{attn + "o_proj.weight", h}});
    l.post_norm = w.vector({{layer + "post_attention_layernorm.weight", h}});
    l.gate_up = w.matrix(h, {{mlp + "gate_proj.weight", f}, {mlp + "up_proj.weight", f}});
    l.down = w.matrix(f, {{mlp + "down_proj.weight", h}});
    m.layers.push_back(l);
  }
  m.final_norm = w.vector({{"model.norm.weight", h}});
  m.lm_head = c.tie_embeddings ? m.embed : w.matrix(h, {{"lm_head.weight", c.vocab_size}});
  return m;
}

}  // namespace

Layout::Layout(const ModelConfig& config) {
  Walk walk{config, nullptr, &slots};
  walk_model(walk);
  bytes = walk.end;
}

ModelWeights Weights::view() const {
  if (!wanted_.empty()) throw std::runtime_error("weights are incomplete: " + missing().front() + " was not loaded");
  Walk walk{config_, arena(), nullptr};
  return walk_model(walk);
}

}  // namespace vajra::engine
