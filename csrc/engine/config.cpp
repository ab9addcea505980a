#include "engine/config.h"

#include <stdexcept>

namespace vajra::engine {
namespace {

void require(bool ok, const std::string& message) {
  if (!ok) throw std::invalid_argument(message);
}

std::string num(int64_t v) { return std::to_string(v); }

}  // namespace

void ModelConfig::check() const {
  const std::pair<const char*, int64_t> positive[] = {
      {"vocab_size", vocab_size}, {"hidden_size", hidden_size}, {"intermediate_size", intermediate_size},
      {"num_layers", num_layers}, {"num_heads", num_heads},     {"num_kv_heads", num_kv_heads},
      {"head_dim", head_dim}};
  for (auto [name, value] : positive) require(value > 0, std::string(name) + " is " + num(value) + "; it must be > 0");
  require(vocab_size < INT32_MAX, "vocab_size " + num(vocab_size) + " does not fit 31 bits");
  require(head_dim % 16 == 0 && head_dim <= 256,
          "head_dim " + num(head_dim) +
              " is not supported by the native engine (a multiple of 16 up to 256 is); set "
              "use_native_execution_backend: false to serve this model");
  require(hidden_size % 2 == 0, "hidden_size " + num(hidden_size) + " is odd; the kernels take pairs");
  require(intermediate_size % 2 == 0,
          "intermediate_size " + num(intermediate_size) + " is odd; the kernels take pairs");
  require(num_heads % num_kv_heads == 0,
          "num_heads " + num(num_heads) + " is not a multiple of num_kv_heads " + num(num_kv_heads));
  require(!int8 || dtype == ops::DType::kBF16,
          "quantization int8 multiplies in bfloat16; set dtype to bfloat16 (or auto)");
  require(int64_t(inv_freq.size()) * 2 == head_dim, "rope.inv_freq has " + num(int64_t(inv_freq.size())) +
                                                        " values; head_dim / 2 = " + num(head_dim / 2) + " are needed");
}

void Options::check() const {
  require(block_size == 8 || block_size == 16 || block_size == 32 || block_size == 64 || block_size == 128,
          "block_size is " + num(block_size) + "; allowed: 8, 16, 32, 64, 128");
  require(num_blocks > 0 && num_blocks < INT32_MAX, "num_blocks is " + num(num_blocks) + "; it must be > 0");
  require(max_model_len > 1 && max_model_len < INT32_MAX,
          "max_model_len is " + num(max_model_len) + "; it must be > 1");
  require(max_batch_size > 0, "max_batch_size is " + num(max_batch_size) + "; it must be > 0");
  require(max_batch_tokens > 0, "max_batch_tokens is " + num(max_batch_tokens) + "; it must be > 0");
  require(num_threads >= 0 && num_threads <= 1024, "num_threads is " + num(num_threads) + "; 1 to 1024 is allowed");
}

}  // namespace vajra::engine
