#include "engine/tasks.h"

#include <utility>

namespace corten::engine {
namespace {

constexpr std::chrono::seconds idle_life{10};

}  // namespace

TaskQueue::TaskQueue(unsigned max_threads, std::size_t max_queued)
    : max_threads_(max_threads), max_queued_(max_queued) {}

TaskQueue::~TaskQueue() {
  MutexLock lock(mutex_);
  ending_ = true;
  wake_.notify_all();
  quiet_.wait(lock, [&]() REQUIRES(mutex_) { return threads_ == 0 && tasks_.empty(); });
}

void TaskQueue::submit(Task task) {
  {
    const MutexLock lock(mutex_);
    if (tasks_.size() < max_queued_) {
      tasks_.push_back(std::move(task));
      if (idle_ >= tasks_.size() || threads_ >= max_threads_) {
        wake_.notify_one();
      } else {
        ++threads_;
        // Detached, but counted: the destructor waits for the count, not for the handle.
        std::thread([this] { work(); }).detach();
      }
      return;
    }
  }
  task();
}

void TaskQueue::work() {
  MutexLock lock(mutex_);
  for (;;) {
    if (tasks_.empty()) {
      if (ending_) break;
      ++idle_;
      const bool woken = wake_.wait_for(lock, idle_life, [&]() REQUIRES(mutex_) { return ending_ || !tasks_.empty(); });
      --idle_;
      if (!woken) break;
      continue;
    }
    Task task = std::move(tasks_.front());
    tasks_.pop_front();
    ++busy_;
    lock.unlock();
    task();
    task = nullptr;  // what it holds must go before the queue counts as quiet
    lock.lock();
    --busy_;
    if (busy_ == 0 && tasks_.empty()) quiet_.notify_all();
  }
  --threads_;
  // Under the lock: the destructor may free the condition variable as soon as it sees the count.
  quiet_.notify_all();
}

bool TaskQueue::drain(std::chrono::milliseconds limit) {
  MutexLock lock(mutex_);
  return quiet_.wait_for(lock, limit, [&]() REQUIRES(mutex_) { return busy_ == 0 && tasks_.empty(); });
}

std::size_t TaskQueue::pending() const {
  const MutexLock lock(mutex_);
  return tasks_.size() + busy_;
}

Timers::Timers(TaskQueue& queue) : queue_(queue), thread_([this] { run(); }) {}

Timers::~Timers() { stop(); }

void Timers::stop() {
  decltype(pending_) dropped;  // destroyed without the lock
  {
    const MutexLock lock(mutex_);
    if (ending_) return;
    ending_ = true;
    dropped.swap(pending_);
    by_id_.clear();
  }
  wake_.notify_all();
  thread_.join();
}

Timers::Id Timers::after(std::chrono::nanoseconds delay, Task task) {
  const auto when = Clock::now() + delay;
  const MutexLock lock(mutex_);
  if (ending_) return 0;
  const Id id = next_++;
  const auto [place, inserted] = pending_.emplace(std::pair(when, id), std::move(task));
  by_id_.emplace(id, when);
  if (place == pending_.begin()) wake_.notify_all();
  return id;
}

bool Timers::cancel(Id id) {
  Task dropped;  // declared first, so that it is destroyed after the lock is gone
  const MutexLock lock(mutex_);
  const auto found = by_id_.find(id);
  if (found == by_id_.end()) return false;
  const auto place = pending_.find({found->second, id});
  dropped = std::move(place->second);
  pending_.erase(place);
  by_id_.erase(found);
  return true;
}

void Timers::run() {
  MutexLock lock(mutex_);
  while (!ending_) {
    if (pending_.empty()) {
      wake_.wait(lock);
      continue;
    }
    const auto first = pending_.begin();
    if (first->first.first > Clock::now()) {
      const auto when = first->first.first;
      wake_.wait_until(lock, when);
      continue;
    }
    Task task = std::move(first->second);
    by_id_.erase(first->first.second);
    pending_.erase(first);
    lock.unlock();
    queue_.submit(std::move(task));
    lock.lock();
  }
}

}  // namespace corten::engine
