// Where a model runs: an op table with its context, and a way to spread host work (sampling) over threads.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "ops/ops.h"

namespace vajra::engine {

class Device {
 public:
  virtual ~Device() = default;
  virtual const ops::OpTable& ops() const = 0;
  virtual ops::Context& context() = 0;
  // Calls work(i) for i in [0, n), each once, on the device's host threads.
  virtual void parallel(int64_t n, const std::function<void(int64_t)>& work) = 0;
};

// The CPU with its best kernel family (VAJRA_ISA can lower it); num_threads 0 follows the cgroup's CPU quota.
std::unique_ptr<Device> make_cpu_device(int num_threads);

}  // namespace vajra::engine
