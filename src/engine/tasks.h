// Work that nobody waits for: a queue with a few threads that come and go, and timers that put work into it.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace corten::engine {

using Task = std::function<void()>;

// Threads are started when work waits and none is free, up to the limit, and end after a while without any.
class TaskQueue {
 public:
  // With more than `max_queued` tasks waiting, submit() runs the task itself: the producer pays for its haste.
  TaskQueue(unsigned max_threads, std::size_t max_queued);
  TaskQueue(const TaskQueue&) = delete;
  TaskQueue& operator=(const TaskQueue&) = delete;
  // Runs what is queued, then ends.
  ~TaskQueue();

  void submit(Task task);
  // Waits until nothing is queued or running, at most so long; false: there still is.
  bool drain(std::chrono::milliseconds limit);
  std::size_t pending() const;

 private:
  void work();

  const unsigned max_threads_;
  const std::size_t max_queued_;
  mutable std::mutex mutex_;
  std::condition_variable wake_, quiet_;
  std::deque<Task> tasks_;  // guarded by mutex_, as all below
  unsigned threads_ = 0, idle_ = 0, busy_ = 0;
  bool ending_ = false;
};

// Calls back once after a delay, through a TaskQueue, so a callback may block without holding up other timers.
class Timers {
 public:
  using Id = std::uint64_t;  // 0 is never one
  explicit Timers(TaskQueue& queue);
  ~Timers();  // forgets what is pending
  Timers(const Timers&) = delete;
  Timers& operator=(const Timers&) = delete;

  // 0, and the task is dropped, after stop().
  Id after(std::chrono::nanoseconds delay, Task task);
  // False when it has fired already or never was.
  bool cancel(Id id);
  // Forgets what is pending and takes no more.
  void stop();

 private:
  using Clock = std::chrono::steady_clock;
  void run();

  TaskQueue& queue_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::map<std::pair<Clock::time_point, Id>, Task> pending_;  // guarded by mutex_, as all below
  std::map<Id, Clock::time_point> by_id_;
  Id next_ = 1;
  bool ending_ = false;
  std::thread thread_;
};

}  // namespace corten::engine
