// Who does what just now, over all builds of the daemon: nobody does a step that another one is doing, and no more
// commands run at once than the machine has use for. Private to the module.
#pragma once

#include <memory>
#include <set>
#include <stop_token>
#include <string>

#include "base/error.h"
#include "base/mutex.h"

namespace corten::build {

// A lock for each key; must outlive its holders.
class StepLocks {
 public:
  using Held = std::shared_ptr<void>;
  // Waits until nobody has it; `cancelled` when `stop` fires. `waiting` is called once, before a wait.
  template <class Waiting>
  Result<Held> lock(const std::string& key, const std::stop_token& stop, Waiting waiting) EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    if (held_.contains(key)) {
      lock.unlock();
      waiting();
      lock.lock();
    }
    changed_.wait(lock, stop, [&]() REQUIRES(mutex_) { return !held_.contains(key); });
    if (stop.stop_requested()) return fail(ErrorKind::cancelled, "the build was cancelled");
    held_.insert(key);
    return Held(nullptr, [this, key](void*) { unlock(key); });
  }

 private:
  void unlock(const std::string& key) EXCLUDES(mutex_) {
    const MutexLock lock(mutex_);
    held_.erase(key);
    changed_.notify_all();
  }
  Mutex mutex_;
  StopCondVar changed_;
  std::set<std::string> held_ GUARDED_BY(mutex_);
};

// At most so many at once; must outlive its holders.
class Slots {
 public:
  using Held = std::shared_ptr<void>;
  explicit Slots(unsigned count) : free_(count) {}
  Result<Held> take(const std::stop_token& stop) EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    changed_.wait(lock, stop, [this]() REQUIRES(mutex_) { return free_ > 0; });
    if (stop.stop_requested()) return fail(ErrorKind::cancelled, "the build was cancelled");
    --free_;
    return Held(nullptr, [this](void*) { give_back(); });
  }

 private:
  void give_back() EXCLUDES(mutex_) {
    const MutexLock lock(mutex_);
    ++free_;
    changed_.notify_one();
  }
  Mutex mutex_;
  StopCondVar changed_;
  unsigned free_ GUARDED_BY(mutex_);
};

}  // namespace corten::build
