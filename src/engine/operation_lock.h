// The lock that puts operations on one container in a row. What std::timed_mutex does, in a form that the thread
// sanitizer of g++ 12 understands (it does not know pthread_mutex_clocklock).
#pragma once

#include <chrono>
#include <utility>

#include "base/mutex.h"

namespace corten::engine {

class OperationLock {
 public:
  void lock() EXCLUDES(mutex_) {
    MutexLock guard(mutex_);
    free_.wait(guard, [this]() REQUIRES(mutex_) { return !held_; });
    held_ = true;
  }
  bool try_lock() EXCLUDES(mutex_) {
    const MutexLock guard(mutex_);
    return !std::exchange(held_, true);
  }
  bool try_lock_for(std::chrono::milliseconds limit) EXCLUDES(mutex_) {
    MutexLock guard(mutex_);
    if (!free_.wait_for(guard, limit, [this]() REQUIRES(mutex_) { return !held_; })) return false;
    return held_ = true;
  }
  void unlock() EXCLUDES(mutex_) {
    {
      const MutexLock guard(mutex_);
      held_ = false;
    }
    free_.notify_one();
  }

 private:
  Mutex mutex_;
  CondVar free_;
  bool held_ GUARDED_BY(mutex_) = false;
};

}  // namespace corten::engine
