// The meeting point of somebody who waits for a container and of what he waits for.
#pragma once

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "engine/engine.h"

namespace corten::engine {

class WaitState {
 public:
  explicit WaitState(WaitCondition condition) : condition_(condition) {}

  WaitCondition condition() const { return condition_; }
  void finish(WaitResult result);
  Result<WaitResult> wait(std::stop_token stop);
  // Nothing when it takes longer than `limit`.
  std::optional<WaitResult> wait_for(std::chrono::milliseconds limit);
  void abandon() { abandoned_.store(true, std::memory_order_relaxed); }
  bool abandoned() const { return abandoned_.load(std::memory_order_relaxed); }

 private:
  const WaitCondition condition_;
  std::mutex mutex_;
  std::condition_variable_any done_;
  std::optional<WaitResult> result_;  // guarded by mutex_
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
