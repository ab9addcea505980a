#include "cpu/cpuid.h"
#include "engine/device.h"
#include "ops/cpu/context.h"
#include "ops/cpu/parallel.h"

namespace vajra::engine {
namespace {

class CpuDevice final : public Device {
 public:
  explicit CpuDevice(int num_threads)
      : table_(ops::cpu_table(cpu::selected_isa())), context_(ops::make_cpu_context(num_threads)) {}

  const ops::OpTable& ops() const override { return table_; }
  ops::Context& context() override { return *context_; }
  void parallel(int64_t n, const std::function<void(int64_t)>& work) override {
    ops::parallel_for(*context_, n, 1, [&](int64_t begin, int64_t end, int) {
      for (int64_t i = begin; i < end; ++i) work(i);
    });
  }

 private:
  const ops::OpTable& table_;
  ops::ContextPtr context_;
};

}  // namespace

std::unique_ptr<Device> make_cpu_device(int num_threads) { return std::make_unique<CpuDevice>(num_threads); }

}  // namespace vajra::engine
