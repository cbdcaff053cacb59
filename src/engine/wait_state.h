// The meeting point of somebody who waits for a container and of what he waits for.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <vector>

#include "base/mutex.h"
#include "engine/engine.h"

namespace corten::engine {

class WaitState {
 public:
  explicit WaitState(WaitCondition condition) : condition_(condition) {}

  WaitCondition condition() const { return condition_; }
  void finish(WaitResult result) EXCLUDES(mutex_);
  Result<WaitResult> wait(const std::stop_token& stop) EXCLUDES(mutex_);
  // Nothing when it takes longer than `limit`.
  std::optional<WaitResult> wait_for(std::chrono::milliseconds limit) EXCLUDES(mutex_);
  void abandon() { abandoned_.store(true, std::memory_order_relaxed); }
  bool abandoned() const { return abandoned_.load(std::memory_order_relaxed); }

 private:
  const WaitCondition condition_;
  Mutex mutex_;
  StopCondVar done_;
  std::optional<WaitResult> result_ GUARDED_BY(mutex_);
  std::atomic<bool> abandoned_ = false;
};

// Gives the waiters of an exit (removed = false: not_running and next_exit) or of a removal (all that are left) their
// result and drops them from `waiters`.
void finish_waiters(std::vector<std::shared_ptr<WaitState>>& waiters, bool removed, const WaitResult& result);

// The public face: takes itself out when the caller goes.
class RegisteredWait : public Waiter {
 public:
  explicit RegisteredWait(std::shared_ptr<WaitState> state) : state_(std::move(state)) {}
  ~RegisteredWait() override { state_->abandon(); }
  Result<WaitResult> wait(std::stop_token stop) override { return state_->wait(stop); }

 private:
  std::shared_ptr<WaitState> state_;
};

}  // namespace corten::engine
