#include "engine/wait_state.h"

#include <algorithm>

namespace corten::engine {

void WaitState::finish(WaitResult result) {
  {
    const MutexLock lock(mutex_);
    if (result_) return;
    result_ = std::move(result);
  }
  done_.notify_all();
}

Result<WaitResult> WaitState::wait(const std::stop_token& stop) {
  MutexLock lock(mutex_);
  if (!done_.wait(lock, stop, [&]() REQUIRES(mutex_) { return result_.has_value(); })) {
    return fail(ErrorKind::cancelled, "wait for a container: the caller went away");
  }
  return *result_;
}

std::optional<WaitResult> WaitState::wait_for(std::chrono::milliseconds limit) {
  MutexLock lock(mutex_);
  done_.wait_for(lock, limit, [&]() REQUIRES(mutex_) { return result_.has_value(); });
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
