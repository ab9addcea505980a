#include "engine/engine.h"

#include <algorithm>
#include <chrono>

namespace vajra::engine {

Engine::Engine(std::shared_ptr<const Weights> weights, const Options& options)
    : config_(weights->config()),
      options_(options),
      device_(make_cpu_device(options.num_threads)),
      forward_(std::move(weights), options, *device_),
      thread_([this] { work(); }) {}

Engine::~Engine() { close(); }

void Engine::add_sequence(int64_t id, std::vector<int32_t> tokens, int64_t num_prompt, sampling::Params params) {
  if (sequences_.contains(id)) throw std::invalid_argument("sequence " + std::to_string(id) + ": the id is in use");
  sequences_.emplace(
      id, std::make_shared<Sequence>(id, std::move(tokens), num_prompt, std::move(params), config_, options_));
}

void Engine::free_sequence(int64_t id) {
  if (sequences_.erase(id) == 0) throw std::invalid_argument("sequence " + std::to_string(id) + " is unknown");
}

std::shared_ptr<Step> Engine::submit(int64_t step_id, std::vector<ItemRequest> items,
                                     const std::vector<int64_t>& preempted) {
  Plan plan = check(step_id, items, preempted);
  auto step = std::make_shared<Step>();
  std::lock_guard lock(mutex_);
  if (!failure_.empty()) throw EngineFailure("the engine refuses steps: " + failure_);
  for (const auto& seq : plan.preempted) seq->planned.processed = seq->planned.blocks = 0;
  for (const PlanItem& item : plan.items) {
    auto& planned = item.seq->planned;
    planned.blocks += int64_t(item.new_blocks.size());
    if (item.seq->certainly_finished()) continue;
    planned.processed += item.num_query;
    if (planned.processed == planned.known) ++planned.known;
  }
  queue_.push_back({std::move(plan), step});
  awake_.notify_one();
  return step;
}

void Engine::close() {
  {
    std::lock_guard lock(mutex_);
    closing_ = true;
    if (failure_.empty()) failure_ = "it is closed";
    awake_.notify_one();
  }
  if (thread_.joinable()) thread_.join();
}

void Engine::work() {
  for (;;) {
    Queued next;
    std::string failure;
    {
      std::unique_lock lock(mutex_);
      awake_.wait(lock, [this] { return closing_ || !queue_.empty(); });
      if (queue_.empty()) return;
      next = std::move(queue_.front());
      queue_.pop_front();
      failure = failure_;
    }
    StepOutput output;
    if (failure.empty()) {
      try {
        output = run(next.plan);
      } catch (const std::exception& e) {
        failure = "step " + std::to_string(next.plan.step_id) + " failed: " + e.what();
        std::lock_guard lock(mutex_);
        if (failure_.empty()) failure_ = failure;
      }
    }
    next.step->finish(std::move(output), std::move(failure));
  }
}

StepOutput Engine::run(const Plan& plan) {
  const auto start = std::chrono::steady_clock::now();
  StepOutput out;
  out.step_id = plan.step_id;
  batch_.build(plan);
  for (const Output& o : batch_.outputs) {
    if (!o.seq->params.return_logits) continue;
    out.logits.push_back({o.seq->id, o.num_rows, config_.vocab_size,
                          std::make_unique_for_overwrite<float[]>(size_t(o.num_rows * config_.vocab_size))});
  }
  size_t next_output = 0;
  forward_.run(batch_,
               [&](int64_t first, int64_t n, const float* logits) { sample(&out, &next_output, first, n, logits); });
  out.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return out;
}

// Takes output rows [first, first + n): copies what is returned, samples the sequences whose last row is among them.
void Engine::sample(StepOutput* out, size_t* next_output, int64_t first, int64_t n, const float* logits) {
  const int64_t vocab = config_.vocab_size, end = first + n;
  size_t with_logits = 0;
  for (const Output& o : batch_.outputs) {
    if (!o.seq->params.return_logits) continue;
    SequenceLogits& dst = out->logits[with_logits++];
    const int64_t from = std::max(first, o.first_row), to = std::min(end, o.first_row + o.num_rows);
    if (from < to)
      std::copy(logits + (from - first) * vocab, logits + (to - first) * vocab,
                dst.data.get() + (from - o.first_row) * vocab);
  }
  std::vector<const Output*> sampled;
  for (; *next_output < batch_.outputs.size(); ++*next_output) {
    const Output& o = batch_.outputs[*next_output];
    if (o.first_row + o.num_rows > end) break;
    if (o.sampled) sampled.push_back(&o);
  }
  std::vector<sampling::Choice> choices(sampled.size());
  device_->parallel(int64_t(sampled.size()), [&](int64_t i) {
    const Output& o = *sampled[size_t(i)];
    const float* row = logits + (o.first_row + o.num_rows - 1 - first) * vocab;
    choices[size_t(i)] = sampling::choose(o.seq->row(row, vocab));
  });
  for (size_t i = 0; i < sampled.size(); ++i) {
    Sequence& s = *sampled[i]->seq;
    const bool valid = choices[i].valid;
    if (valid) {
      s.accept(choices[i].token);
    } else {  // its KV or the weights are damaged: it ends, its batch-mates may be sound
      s.finish = Finish::kError;
      choices[i].token = -1;
    }
    out->tokens.push_back({s.id, s.finish, valid && s.params.logprobs >= 0, std::move(choices[i])});
  }
}

}  // namespace vajra::engine
