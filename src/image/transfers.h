// What is on its way into the store, so that two pulls of one layer share the work: whoever wants a blob or a layer
// that somebody else is fetching waits for him, and then finds it there (or fetches it himself, if the other one
// failed).
#pragma once

#include <set>
#include <stop_token>
#include <string>

#include "base/error.h"
#include "base/mutex.h"

namespace corten::image {

class Transfers {
 public:
  // The right to fetch one thing; given back at the end of its life.
  class Turn {
   public:
    Turn(Turn&& other) noexcept : transfers_(std::exchange(other.transfers_, nullptr)), name_(std::move(other.name_)) {}
    Turn& operator=(Turn&&) = delete;
    ~Turn() {
      if (transfers_ != nullptr) transfers_->end(name_);
    }

   private:
    friend class Transfers;
    Turn(Transfers* transfers, std::string name) : transfers_(transfers), name_(std::move(name)) {}
    Transfers* transfers_;
    std::string name_;
  };

  // Waits until nobody else has `name`; cancelled when `stop` fires first.
  Result<Turn> take(const std::string& name, const std::stop_token& stop) EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    changed_.wait(lock, stop, [&]() REQUIRES(mutex_) { return !running_.contains(name); });
    if (stop.stop_requested()) return fail(ErrorKind::cancelled, "waiting for {} was cancelled", name);
    running_.insert(name);
    return Turn(this, name);
  }

 private:
  void end(const std::string& name) EXCLUDES(mutex_) {
    const MutexLock lock(mutex_);
    running_.erase(name);
    changed_.notify_all();
  }

  Mutex mutex_;
  StopCondVar changed_;
  std::set<std::string> running_ GUARDED_BY(mutex_);
};

}  // namespace corten::image
