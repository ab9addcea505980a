// The CPU's device context and the op tables of its kernel families.
#pragma once

#include <memory>

#include "cpu/cpuid.h"
#include "ops/ops.h"

namespace vajra::ops {

struct ContextDeleter {
  void operator()(Context* ctx) const;
};
using ContextPtr = std::unique_ptr<Context, ContextDeleter>;

// A thread pool and its scratch memory. num_threads < 1: as many as the affinity mask and the cgroup's CPU quota
// allow. Ops on one context are called from one thread at a time.
ContextPtr make_cpu_context(int num_threads = 0);

// The kernels of a family; isa must be one that the host supports (<= cpu::host_isa()).
const OpTable& cpu_table(cpu::Isa isa);

// The AMX family's loops over tile instructions written out in C++, on vectors of the portable family: slow, for tests
// on processors without AMX. Engines never run on it.
const OpTable& emulated_amx_table();

// Whether attention and rope_kv support a head size: multiples of 16 up to 256.
constexpr bool head_dim_supported(int d) { return d > 0 && d <= 256 && d % 16 == 0; }
// Whether they support a block size: 8, 16, 32, 64 or 128.
constexpr bool block_size_supported(int b) { return b == 8 || b == 16 || b == 32 || b == 64 || b == 128; }

}  // namespace vajra::ops
