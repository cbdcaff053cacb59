// A thread for what nobody should wait for: removing directories and flushing layers to the disk. Private to the
// driver.
#pragma once

#include <deque>
#include <functional>
#include <string>
#include <thread>

#include "base/mutex.h"

namespace corten::store {

class Janitor {
 public:
  // `remove` gets each name, again after a while where it says false; `flush` is called some seconds after the last
  // flush_soon().
  Janitor(std::function<bool(const std::string&)> remove, std::function<void()> flush);
  // Stops after the job at hand: what is left is found again at the next start.
  ~Janitor();
  void remove(std::string name) EXCLUDES(mutex_);
  void flush_soon() EXCLUDES(mutex_);

 private:
  void work() EXCLUDES(mutex_);

  // Called by the thread alone, without the lock.
  const std::function<bool(const std::string&)> remove_;
  const std::function<void()> flush_;

  Mutex mutex_;
  CondVar wake_;
  std::deque<std::string> names_ GUARDED_BY(mutex_);
  bool flush_wanted_ GUARDED_BY(mutex_) = false;
  bool stop_ GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace corten::store
