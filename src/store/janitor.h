// A thread for what nobody should wait for: removing directories and flushing layers to the disk. Private to the
// driver.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <string>
#include <thread>

namespace corten::store {

class Janitor {
 public:
  // `remove` gets each name, again after a while where it says false; `flush` is called some seconds after the last
  // flush_soon().
  Janitor(std::function<bool(const std::string&)> remove, std::function<void()> flush);
  // Stops after the job at hand: what is left is found again at the next start.
  ~Janitor();
  void remove(std::string name);
  void flush_soon();

 private:
  void work();

  std::function<bool(const std::string&)> remove_;
  std::function<void()> flush_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::string> names_;
  bool flush_wanted_ = false;
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace corten::store
