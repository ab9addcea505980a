// A pool of threads that share one loop at a time.
#pragma once

#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

namespace vajra::cpu {

// num_threads - 1 threads beside the caller. `run` is called from one thread at a time.
//
// A loop is joined by whichever threads are awake: one that sleeps or is descheduled never holds the caller up,
// since only threads that have entered the loop are waited for.
class ThreadPool {
 public:
  // Processes items [begin, end) as thread `thread` in [0, size()).
  using Body = void (*)(void* arg, int64_t begin, int64_t end, int thread);

  explicit ThreadPool(int num_threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int size() const { return int(threads_.size()) + 1; }

  // Covers items [0, items), `grain` at a time, in any order, and returns when all are done. Bodies must not throw.
  void run(int64_t items, int64_t grain, Body body, void* arg);

  // For bodies: has the calling thread call fn once, when it leaves the loop. For state that must not outlive the work.
  static void when_leaving(void (*fn)());

 private:
  struct Loop {
    Body body = nullptr;
    void* arg = nullptr;
    int64_t items = 0, grain = 1;
  };

  void work(int thread);
  void take_items(int thread);

  // The state word: threads inside the loop in the low bits, then whether it is open to enter, then its number.
  static constexpr uint32_t kInside = (1u << 15) - 1, kOpen = 1u << 15, kNumber = 1u << 16;

  Loop loop_;  // written while nobody is inside, read only inside
  alignas(64) std::atomic<uint32_t> state_{0};
  alignas(64) std::atomic<int64_t> next_{0};
  std::atomic<bool> stop_{false};
  std::vector<std::jthread> threads_;
};

}  // namespace vajra::cpu
