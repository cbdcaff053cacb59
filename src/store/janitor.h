// A thread for what nobody should wait for: removing directories and flushing layers to the disk. Private to the
// driver.
#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <string>
#include <thread>

#include "base/mutex.h"

namespace corten::store {

class Janitor {
 public:
  // `remove` gets each name, again after a while where it says false, and ends early when `stop` becomes true; `flush`
  // is called some seconds after the last flush_soon().
  using Remove = std::function<bool(const std::string& name, const std::atomic<bool>& stop)>;
  Janitor(Remove remove, std::function<void()> flush);
  // Does not wait for what is left to be removed: it is found again at the next start.
  ~Janitor();
  void remove(std::string name) EXCLUDES(mutex_);
  void flush_soon() EXCLUDES(mutex_);

 private:
  void work() EXCLUDES(mutex_);

  // Called by the thread alone, without the lock.
  const Remove remove_;
  const std::function<void()> flush_;

  Mutex mutex_;
  CondVar wake_;
  std::deque<std::string> names_ GUARDED_BY(mutex_);
  bool flush_wanted_ GUARDED_BY(mutex_) = false;
  std::atomic<bool> stop_ = false;  // set under the lock
  std::thread thread_;
};

}  // namespace corten::store
