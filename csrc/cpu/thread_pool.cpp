#include "cpu/thread_pool.h"

#include <algorithm>
#include <exception>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace vajra::cpu {
namespace {

// Tens of microseconds: longer than the gap between two ops, shorter than anything a neighbour would notice.
constexpr int kSpins = 1000;

thread_local void (*leaving)() = nullptr;

void leave() {
  if (leaving == nullptr) return;
  leaving();
  leaving = nullptr;
}

void pause() {
#if defined(__x86_64__)
  _mm_pause();
#else
  std::this_thread::yield();
#endif
}

// Waits until the word is no longer `old`: first awake, then asleep.
uint32_t wait_change(const std::atomic<uint32_t>& word, uint32_t old) {
  for (int i = 0; i < kSpins; ++i) {
    const uint32_t now = word.load(std::memory_order_acquire);
    if (now != old) return now;
    pause();
  }
  word.wait(old, std::memory_order_acquire);
  return word.load(std::memory_order_acquire);
}

}  // namespace

ThreadPool::ThreadPool(int num_threads) {
  for (int i = 1; i < num_threads; ++i) threads_.emplace_back([this, i] { work(i); });
}

ThreadPool::~ThreadPool() {
  stop_.store(true, std::memory_order_relaxed);
  state_.fetch_add(kNumber, std::memory_order_release);
  state_.notify_all();
}

void ThreadPool::when_leaving(void (*fn)()) { leaving = fn; }

void ThreadPool::take_items(int thread) {
  const Loop loop = loop_;
  for (;;) {
    const int64_t begin = next_.fetch_add(loop.grain, std::memory_order_relaxed);
    if (begin >= loop.items) return leave();
    loop.body(loop.arg, begin, std::min(begin + loop.grain, loop.items), thread);
  }
}

void ThreadPool::run(int64_t items, int64_t grain, Body body, void* arg) {
  if (items <= 0) return;
  grain = std::max<int64_t>(grain, 1);
  if (threads_.empty() || items <= grain) {
    body(arg, 0, items, 0);
    return leave();
  }
  loop_ = {body, arg, items, grain};
  next_.store(0, std::memory_order_relaxed);
  const uint32_t number = state_.load(std::memory_order_relaxed) & ~(kNumber - 1);
  state_.store((number + kNumber) | kOpen, std::memory_order_release);
  state_.notify_all();
  take_items(0);
  uint32_t state = state_.fetch_and(~kOpen, std::memory_order_acq_rel) & ~kOpen;
  while ((state & kInside) != 0) state = wait_change(state_, state);
}

void ThreadPool::work(int thread) {
  (void)std::uncaught_exceptions();  // allocates the thread's own memory for exceptions while there is some
  uint32_t state = 0, seen = 0;      // seen: the last loop entered
  for (;;) {
    if (stop_.load(std::memory_order_relaxed)) return;
    const uint32_t number = state & ~(kNumber - 1);
    if ((state & kOpen) == 0 || number == seen) {
      state = wait_change(state_, state);
      continue;
    }
    if (!state_.compare_exchange_weak(state, state + 1, std::memory_order_acq_rel, std::memory_order_acquire)) continue;
    seen = number;
    take_items(thread);
    state = state_.fetch_sub(1, std::memory_order_acq_rel) - 1;
    if ((state & (kInside | kOpen)) == 0) state_.notify_all();
  }
}

}  // namespace vajra::cpu
