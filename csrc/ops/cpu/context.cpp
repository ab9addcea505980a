#include "ops/cpu/context.h"

#include <atomic>
#include <cstdlib>
#include <exception>
#include <new>
#include <vector>

#include "cpu/quota.h"
#include "cpu/thread_pool.h"
#include "ops/cpu/parallel.h"

namespace vajra::ops {
namespace {

struct Free {
  void operator()(void* p) const { std::free(p); }
};

// A buffer that only grows.
struct alignas(64) Arena {
  std::unique_ptr<void, Free> memory;
  size_t size = 0;

  void* reserve(size_t bytes) {
    if (bytes > size) {
      const size_t rounded = (bytes + bytes / 2 + 4095) / 4096 * 4096;
      memory.reset(std::aligned_alloc(64, rounded));
      size = memory ? rounded : 0;
      if (!memory) throw std::bad_alloc();
    }
    return memory.get();
  }
};

}  // namespace

struct Context {
  explicit Context(int threads) : pool(threads), arenas(size_t(threads) + 1) {}

  cpu::ThreadPool pool;
  std::vector<Arena> arenas;  // the op's own, then one per thread
};

ContextPtr make_cpu_context(int num_threads) {
  return ContextPtr(new Context(num_threads < 1 ? cpu::usable_cpus() : num_threads));
}

void ContextDeleter::operator()(Context* ctx) const { delete ctx; }

int num_threads(const Context& ctx) { return ctx.pool.size(); }

void run_loop(Context& ctx, int64_t items, int64_t grain, LoopBody body, void* arg) {
  // A body that runs out of memory must not end the process from a pool thread: the first failure reaches the caller.
  struct Guard {
    LoopBody body;
    void* arg;
    std::atomic_flag failed;
    std::exception_ptr error;
  } guard{body, arg, {}, nullptr};
  ctx.pool.run(
      items, grain,
      [](void* p, int64_t begin, int64_t end, int thread) {
        Guard& g = *static_cast<Guard*>(p);
        try {
          g.body(g.arg, begin, end, thread);
        } catch (...) {
          if (!g.failed.test_and_set()) g.error = std::current_exception();
        }
      },
      &guard);
  if (guard.error) std::rethrow_exception(guard.error);
}

void when_leaving_loop(void (*fn)()) { cpu::ThreadPool::when_leaving(fn); }

void* scratch(Context& ctx, int thread, size_t bytes) { return ctx.arenas[size_t(thread) + 1].reserve(bytes); }

namespace scalar {
extern const OpTable kTable;
}
namespace avx2 {
extern const OpTable kTable;
}
namespace avx512 {
extern const OpTable kTable;
}
namespace avx512fma {
extern const OpTable kTable;
}
namespace amx {
extern const OpTable kTable;
}
namespace amx_emulated {
extern const OpTable kTable;
}

const OpTable& cpu_table(cpu::Isa isa) {
#if defined(__x86_64__)
  if (isa == cpu::Isa::kAmx) return amx::kTable;
  if (isa == cpu::Isa::kAvx512Fma) return avx512fma::kTable;
  if (isa == cpu::Isa::kAvx512) return avx512::kTable;
  if (isa == cpu::Isa::kAvx2) return avx2::kTable;
#endif
  (void)isa;
  return scalar::kTable;
}

const OpTable& emulated_amx_table() { return amx_emulated::kTable; }

}  // namespace vajra::ops
