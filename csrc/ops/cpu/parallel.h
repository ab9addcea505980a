// Loops over a context's threads, and its scratch memory. Free of std:: so that kernel units, compiled with their own
// architecture flags, instantiate nothing that the linker could pick for other code.
#pragma once

#include <cstddef>
#include <cstdint>

namespace vajra::ops {

struct Context;

int num_threads(const Context& ctx);

using LoopBody = void (*)(void* arg, int64_t begin, int64_t end, int thread);
// Covers items [0, items), about `grain` at a time, on the context's threads; returns when all are done. What a body
// throws (scratch may run out of memory) is thrown to the caller then.
void run_loop(Context& ctx, int64_t items, int64_t grain, LoopBody body, void* arg);

// For bodies: has the calling thread call fn once, when it leaves the loop.
void when_leaving_loop(void (*fn)());

// 64-byte aligned memory of a thread, or (thread -1) of the whole op. It stays valid until the next call for the
// same thread with a larger size, and is not cleared.
void* scratch(Context& ctx, int thread, size_t bytes);

// run_loop over a callable fn(begin, end, thread).
template <class Fn>
inline void parallel_for(Context& ctx, int64_t items, int64_t grain, const Fn& fn) {
  run_loop(
      ctx, items, grain,
      [](void* arg, int64_t begin, int64_t end, int thread) { (*static_cast<const Fn*>(arg))(begin, end, thread); },
      const_cast<Fn*>(&fn));
}

}  // namespace vajra::ops
