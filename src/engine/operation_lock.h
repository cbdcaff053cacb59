// The lock that puts operations on one container in a row. What std::timed_mutex does, in a form that the thread
// sanitizer of g++ 12 understands (it does not know pthread_mutex_clocklock).
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <utility>

namespace corten::engine {

class OperationLock {
 public:
  void lock() {
    std::unique_lock guard(mutex_);
    free_.wait(guard, [this] { return !held_; });
    held_ = true;
  }
  bool try_lock() {
    const std::lock_guard guard(mutex_);
    return !std::exchange(held_, true);
  }
  bool try_lock_for(std::chrono::milliseconds limit) {
    std::unique_lock guard(mutex_);
    if (!free_.wait_for(guard, limit, [this] { return !held_; })) return false;
    return held_ = true;
  }
  void unlock() {
    {
      const std::lock_guard guard(mutex_);
      held_ = false;
    }
    free_.notify_one();
  }

 private:
  std::mutex mutex_;
  std::condition_variable free_;
  bool held_ = false;  // guarded by mutex_
};

}  // namespace corten::engine
