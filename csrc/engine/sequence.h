// One sequence, seen from two sides. The submitting thread keeps where the submitted plans will have led (`planned`);
// the step thread keeps where the steps run so far have led. Neither reads the other's part.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "engine/config.h"
#include "ops/cpu/sampling.h"

namespace vajra::engine {

enum class Finish : uint8_t { kNone = 0, kStop = 1, kLength = 2, kError = 3 };

class Sequence {
 public:
  // Throws std::invalid_argument naming the argument that is wrong.
  Sequence(int64_t id, std::vector<int32_t> tokens, int64_t num_prompt, sampling::Params params,
           const ModelConfig& config, const Options& options);

  const int64_t id;
  const int64_t num_prompt;
  const sampling::Params params;

  // What submitted plans lead to, if the sequence does not finish before.
  struct Planned {
    int64_t known = 0;      // tokens, those to be sampled included
    int64_t processed = 0;  // of them in KV
    int64_t blocks = 0;
  } planned;
  // Whether the submitted plans certainly bring it to its end (a further item is skipped).
  bool certainly_finished() const { return planned.known >= last_len_; }

  // The step thread's side.
  std::vector<int32_t> tokens;
  std::vector<int32_t> blocks;
  int64_t processed = 0;
  Finish finish = Finish::kNone;

  void preempt();
  // The row for the token at position tokens.size().
  sampling::Row row(const float* logits, int64_t vocab) const;
  // Appends a sampled token and decides whether it was the last.
  void accept(int32_t token);

 private:
  int64_t last_len_;  // tokens at which LENGTH is reached
  sampling::TokenCounts counts_;
};

}  // namespace vajra::engine
