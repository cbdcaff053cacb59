// Internal: threads with small stacks, made when all others are busy and ended when idle for a while.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <vector>

#include "base/error.h"
#include "base/mutex.h"

namespace corten::http {

class WorkerPool : public std::enable_shared_from_this<WorkerPool> {
 public:
  using Job = std::move_only_function<void()>;

  WorkerPool(std::size_t max_threads, std::size_t stack_size);

  // Runs the job at once on a thread of its own. exhausted: max_threads are busy or the system gives no thread; the job
  // is destroyed then.
  Result<> submit(Job job) EXCLUDES(mutex_);
  // Idle threads end now, busy ones with their job. Jobs submitted later fail.
  void stop() EXCLUDES(mutex_);
  std::size_t threads() const EXCLUDES(mutex_);

 private:
  struct Worker;
  Result<> start_thread(Job job);
  void work(Job job) EXCLUDES(mutex_);
  // False: none came for a while, or the pool was stopped; the worker is not among the idle ones then.
  bool wait_for_job(Worker& self, MutexLock& lock) REQUIRES(mutex_);

  const std::size_t max_threads_;
  const std::size_t stack_size_;
  mutable Mutex mutex_;
  std::vector<Worker*> idle_ GUARDED_BY(mutex_);  // the one that was busy last is at the back: its stack is warm
  std::size_t threads_ GUARDED_BY(mutex_) = 0;
  bool stopped_ GUARDED_BY(mutex_) = false;
};

}  // namespace corten::http
