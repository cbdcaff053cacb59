#include "engine/wait_state.h"

#include <algorithm>

namespace corten::engine {

void WaitState::finish(WaitResult result) {
  {
    const std::lock_guard lock(mutex_);
    if (result_) return;
    result_ = std::move(result);
  }
  done_.notify_all();
}

Result<WaitResult> WaitState::wait(std::stop_token stop) {
  std::unique_lock lock(mutex_);
  if (!done_.wait(lock, stop, [&] { return result_.has_value(); })) {
    return fail(ErrorKind::cancelled, "wait for a container: the caller went away");
  }
  return *result_;
}

std::optional<WaitResult> WaitState::wait_for(std::chrono::milliseconds limit) {
  std::unique_lock lock(mutex_);
  done_.wait_for(lock, limit, [&] { return result_.has_value(); });
  return result_;
}

void finish_waiters(std::vector<std::shared_ptr<WaitState>>& waiters, bool removed, const WaitResult& result) {
  std::erase_if(waiters, [&](const std::shared_ptr<WaitState>& waiter) {
    if (!removed && waiter->condition() == WaitCondition::removed) return waiter->abandoned();
    waiter->finish(result);
    return true;
  });
}

}  // namespace corten::engine
