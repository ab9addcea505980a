// Choosing one token from one row of logits. docs/design/0004-sampling.md is the definition, step by step; this is
// plain C++ in IEEE operations of fixed order, so the result is the same on every ISA and in every batch.
#pragma once

#include <cstdint>
#include <unordered_map>
#include <utility>
#include <vector>

namespace vajra::sampling {

// The least temperature beside 0, about 1e-6 (a power of two, for clients that hold it in float32).
constexpr double kMinTemperature = 0x1p-20;

struct Params {
  double temperature = 1.0;  // 0: greedy
  int32_t top_k = 0;         // 0: all
  double top_p = 1.0;
  double min_p = 0.0;
  float repetition_penalty = 1.0f;
  float presence_penalty = 0.0f;
  float frequency_penalty = 0.0f;
  std::vector<std::pair<int32_t, float>> logit_bias;
  uint64_t seed = 0;
  int32_t max_tokens = 1;
  int32_t min_tokens = 0;
  std::vector<int32_t> stop_token_ids;
  int32_t logprobs = -1;  // -1: none; k: of the chosen token and the k likeliest
  bool return_logits = false;

  bool penalized() const { return repetition_penalty != 1.0f || presence_penalty != 0.0f || frequency_penalty != 0.0f; }
};

// Tokens of prompt and output, each with its count in the output (0: prompt only).
using TokenCounts = std::unordered_map<int32_t, int32_t>;

struct Row {
  const float* logits = nullptr;  // [vocab]
  int64_t vocab = 0;
  const Params* params = nullptr;
  const TokenCounts* counts = nullptr;  // needed when params->penalized()
  uint64_t position = 0;                // of the token to be chosen, in its sequence
  bool mask_stops = false;              // fewer outputs than min_tokens
};

struct Choice {
  bool valid = true;  // false: the logits hold NaN or infinity, and there is no choice
  int32_t token = 0;
  float logprob = 0;                                // with params.logprobs >= 0
  std::vector<std::pair<int32_t, float>> logprobs;  // the likeliest, best first
};

Choice choose(const Row& row);

// The uniform number in [0, 1) of (seed, position).
double uniform(uint64_t seed, uint64_t position);

}  // namespace vajra::sampling
