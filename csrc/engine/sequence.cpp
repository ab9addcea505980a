#include "engine/sequence.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>

namespace vajra::engine {
namespace {

void require(bool ok, int64_t id, const std::string& message) {
  if (!ok) throw std::invalid_argument("sequence " + std::to_string(id) + ": " + message);
}

void check_params(int64_t id, const sampling::Params& p, int64_t vocab) {
  const auto num = [](auto v) { return std::to_string(v); };
  require(std::isfinite(p.temperature) && p.temperature >= 0, id,
          "temperature is " + num(p.temperature) + "; it must be finite and >= 0");
  require(p.temperature == 0 || p.temperature >= sampling::kMinTemperature, id,
          "temperature lies between 0 and 1e-6; use 0 for greedy, or at least 1e-6");
  require(p.top_k >= 0, id, "top_k is " + num(p.top_k) + "; it must be >= 0 (0 keeps all)");
  require(p.top_p > 0 && p.top_p <= 1, id, "top_p is " + num(p.top_p) + "; it must be in (0, 1]");
  require(p.min_p >= 0 && p.min_p <= 1, id, "min_p is " + num(p.min_p) + "; it must be in [0, 1]");
  require(std::isfinite(p.repetition_penalty) && p.repetition_penalty > 0, id,
          "repetition_penalty is " + num(p.repetition_penalty) + "; it must be finite and > 0");
  require(std::isfinite(p.presence_penalty), id, "presence_penalty must be finite");
  require(std::isfinite(p.frequency_penalty), id, "frequency_penalty must be finite");
  require(p.max_tokens >= 1, id, "max_tokens is " + num(p.max_tokens) + "; it must be >= 1");
  require(p.min_tokens >= 0 && p.min_tokens <= p.max_tokens, id,
          "min_tokens is " + num(p.min_tokens) + "; it must be in [0, max_tokens = " + num(p.max_tokens) + "]");
  require(p.logprobs >= -1 && p.logprobs <= vocab, id,
          "logprobs is " + num(p.logprobs) + "; it must be in [0, vocab_size = " + num(vocab) + "]");
  for (auto [token, bias] : p.logit_bias) {
    require(token >= 0 && token < vocab, id,
            "logit_bias names token id " + num(token) + "; ids are 0 to " + num(vocab - 1));
    require(std::isfinite(bias), id, "logit_bias of token id " + num(token) + " is not finite");
  }
  for (int32_t token : p.stop_token_ids) require(token >= 0, id, "stop_token_ids has " + num(token));
}

}  // namespace

Sequence::Sequence(int64_t id_, std::vector<int32_t> tokens_, int64_t num_prompt_, sampling::Params params_,
                   const ModelConfig& config, const Options& options)
    : id(id_), num_prompt(num_prompt_), params(std::move(params_)), tokens(std::move(tokens_)) {
  const int64_t len = int64_t(tokens.size());
  const auto num = [](int64_t v) { return std::to_string(v); };
  require(len > 0, id, "token_ids is empty");
  require(num_prompt >= 1 && num_prompt <= len, id,
          "num_prompt_tokens is " + num(num_prompt) + "; it must be in [1, len(token_ids) = " + num(len) + "]");
  require(len < options.max_model_len, id,
          "token_ids has " + num(len) +
              " tokens, which leaves none to generate of max_model_len = " + num(options.max_model_len));
  for (int64_t i = 0; i < len; ++i)
    require(tokens[i] >= 0 && tokens[i] < config.vocab_size, id,
            "token_ids[" + num(i) + "] is " + num(tokens[i]) + "; ids are 0 to " + num(config.vocab_size - 1));
  check_params(id, params, config.vocab_size);
  require(len - num_prompt < params.max_tokens, id,
          "token_ids has " + num(len - num_prompt) + " generated tokens already, max_tokens is " +
              num(params.max_tokens) + ": nothing is left to generate");
  last_len_ = std::min(num_prompt + params.max_tokens, options.max_model_len);
  planned.known = len;
  tokens.reserve(size_t(std::min(last_len_, len + 256)));
  if (params.penalized()) {
    for (int64_t i = 0; i < len; ++i) {
      const auto [it, fresh] = counts_.try_emplace(tokens[i], 0);
      if (i >= num_prompt) ++it->second;
    }
  }
}

void Sequence::preempt() {
  blocks.clear();
  processed = 0;
}

sampling::Row Sequence::row(const float* logits, int64_t vocab) const {
  const int64_t outputs = int64_t(tokens.size()) - num_prompt;
  return {logits, vocab, &params, &counts_, uint64_t(tokens.size()), outputs < params.min_tokens};
}

void Sequence::accept(int32_t token) {
  tokens.push_back(token);
  if (params.penalized()) ++counts_[token];
  const auto& stops = params.stop_token_ids;
  if (std::find(stops.begin(), stops.end(), token) != stops.end())
    finish = Finish::kStop;
  else if (int64_t(tokens.size()) >= last_len_)
    finish = Finish::kLength;
}

}  // namespace vajra::engine
