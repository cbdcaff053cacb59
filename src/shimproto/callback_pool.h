// Threads that run callbacks: started when there is work and nobody idle, up to a limit, then kept.
#pragma once

#include <deque>
#include <functional>
#include <thread>
#include <utility>
#include <vector>

#include "base/mutex.h"

namespace corten::shimproto {

class CallbackPool {
 public:
  explicit CallbackPool(unsigned max_threads) : max_threads_(max_threads == 0 ? 1 : max_threads) {}
  CallbackPool(const CallbackPool&) = delete;
  CallbackPool& operator=(const CallbackPool&) = delete;
  ~CallbackPool() { stop(); }

  void post(std::function<void()> task) EXCLUDES(mutex_) {
    const MutexLock lock(mutex_);
    if (stopping_) return;
    tasks_.push_back(std::move(task));
    if (idle_ == 0 && threads_.size() < max_threads_) threads_.emplace_back([this] { run(); });
    ready_.notify_one();
  }
  // Drops what has not begun, waits for what has. Not from inside a task.
  void stop() EXCLUDES(mutex_) {
    std::vector<std::thread> threads;
    {
      const MutexLock lock(mutex_);
      stopping_ = true;
      tasks_.clear();
      threads = std::exchange(threads_, {});
      ready_.notify_all();
    }
    for (auto& thread : threads) thread.join();
  }

 private:
  void run() EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    for (;;) {
      ++idle_;
      ready_.wait(lock, [this]() REQUIRES(mutex_) { return stopping_ || !tasks_.empty(); });
      --idle_;
      if (stopping_) return;
      auto task = std::move(tasks_.front());
      tasks_.pop_front();
      lock.unlock();
      task();
      task = nullptr;
      lock.lock();
    }
  }

  const std::size_t max_threads_;

  Mutex mutex_;
  CondVar ready_;
  std::deque<std::function<void()>> tasks_ GUARDED_BY(mutex_);
  std::vector<std::thread> threads_ GUARDED_BY(mutex_);
  std::size_t idle_ GUARDED_BY(mutex_) = 0;
  bool stopping_ GUARDED_BY(mutex_) = false;
};

}  // namespace corten::shimproto
