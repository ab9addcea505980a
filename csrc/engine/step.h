// A submitted step: what it will have produced, and a way to wait for it.
#pragma once

#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "engine/sequence.h"

namespace vajra::engine {

struct Sampled {
  int64_t seq_id;
  Finish finish;
  bool has_logprob;
  sampling::Choice choice;
};

// Logits of one sequence's query rows, [rows, vocab].
struct SequenceLogits {
  int64_t seq_id;
  int64_t rows, vocab;
  std::unique_ptr<float[]> data;
};

struct StepOutput {
  int64_t step_id = 0;
  double seconds = 0;
  std::vector<Sampled> tokens;
  std::vector<SequenceLogits> logits;
};

class Step {
 public:
  bool done() const {
    std::lock_guard lock(mutex_);
    return done_;
  }
  // False when the time ran out first; without a limit it waits for the end.
  bool wait(std::optional<double> seconds) const {
    std::unique_lock lock(mutex_);
    const auto finished = [this] { return done_; };
    if (!seconds) return ended_.wait(lock, finished), true;
    return ended_.wait_for(lock, std::chrono::duration<double>(*seconds), finished);
  }
  // After the end: the output, or why there is none.
  StepOutput& output() { return output_; }
  const std::string& error() const { return error_; }

  void finish(StepOutput output, std::string error) {
    std::lock_guard lock(mutex_);
    output_ = std::move(output);
    error_ = std::move(error);
    done_ = true;
    ended_.notify_all();
  }

 private:
  mutable std::mutex mutex_;
  mutable std::condition_variable ended_;
  bool done_ = false;
  StepOutput output_;
  std::string error_;
};

}  // namespace vajra::engine
