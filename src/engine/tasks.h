// Work that nobody waits for: a queue with a few threads that come and go, and timers that put work into it.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "base/mutex.h"

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

  void submit(Task task) EXCLUDES(mutex_);
  // Waits until nothing is queued or running, at most so long; false: there still is.
  bool drain(std::chrono::milliseconds limit) EXCLUDES(mutex_);
  std::size_t pending() const EXCLUDES(mutex_);

 private:
  void work() EXCLUDES(mutex_);

  const unsigned max_threads_;
  const std::size_t max_queued_;
  mutable Mutex mutex_;
  CondVar wake_, quiet_;
  std::deque<Task> tasks_ GUARDED_BY(mutex_);
  unsigned threads_ GUARDED_BY(mutex_) = 0;
  unsigned idle_ GUARDED_BY(mutex_) = 0;
  unsigned busy_ GUARDED_BY(mutex_) = 0;
  bool ending_ GUARDED_BY(mutex_) = false;
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
  Id after(std::chrono::nanoseconds delay, Task task) EXCLUDES(mutex_);
  // False when it has fired already or never was.
  bool cancel(Id id) EXCLUDES(mutex_);
  // Forgets what is pending and takes no more.
  void stop() EXCLUDES(mutex_);

 private:
  using Clock = std::chrono::steady_clock;
  void run() EXCLUDES(mutex_);

  TaskQueue& queue_;
  Mutex mutex_;
  CondVar wake_;
  std::map<std::pair<Clock::time_point, Id>, Task> pending_ GUARDED_BY(mutex_);
  std::map<Id, Clock::time_point> by_id_ GUARDED_BY(mutex_);
  Id next_ GUARDED_BY(mutex_) = 1;
  bool ending_ GUARDED_BY(mutex_) = false;
  std::thread thread_;  // last, because it uses the rest; joined by whoever sets ending_
};

}  // namespace corten::engine
