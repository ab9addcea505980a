// The engine: sequences and a queue of steps, run in order by a thread of its own. All verbs come from one thread.
#pragma once

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <thread>
#include <unordered_map>

#include "engine/batch.h"
#include "engine/device.h"
#include "engine/forward.h"
#include "engine/step.h"

namespace vajra::engine {

// The engine cannot go on.
struct EngineFailure : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// A plan item as it arrives, naming its sequence.
struct ItemRequest {
  int64_t seq_id;
  int64_t num_query;
  std::vector<int32_t> new_blocks;
};

class Engine {
 public:
  Engine(std::shared_ptr<const Weights> weights, const Options& options);
  ~Engine();

  // The three verbs throw std::invalid_argument saying what does not fit, and then have changed nothing.
  void add_sequence(int64_t id, std::vector<int32_t> tokens, int64_t num_prompt, sampling::Params params);
  std::shared_ptr<Step> submit(int64_t step_id, std::vector<ItemRequest> items, const std::vector<int64_t>& preempted);
  void free_sequence(int64_t id);
  // Ends after the running step; steps still queued fail.
  void close();

  const char* kernels() const { return device_->ops().name; }
  const ModelConfig& model() const { return config_; }

 private:
  struct Queued {
    Plan plan;
    std::shared_ptr<Step> step;
  };
  Plan check(int64_t step_id, std::vector<ItemRequest>& items, const std::vector<int64_t>& preempted) const;
  void work();
  StepOutput run(const Plan& plan);
  void sample(StepOutput* out, size_t* next_output, int64_t first, int64_t n, const float* logits);

  const ModelConfig config_;
  const Options options_;
  std::unique_ptr<Device> device_;
  Forward forward_;
  Batch batch_;

  // The submitting thread's. A queued plan shares its sequences, so freeing one never waits.
  std::unordered_map<int64_t, std::shared_ptr<Sequence>> sequences_;

  std::mutex mutex_;
  std::condition_variable awake_;
  std::deque<Queued> queue_;
  bool closing_ = false;
  std::string failure_;  // why the engine refuses steps
  std::thread thread_;
};

}  // namespace vajra::engine
