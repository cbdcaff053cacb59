// What is on its way into the store, so that two pulls of one layer share the work: whoever wants a blob or a layer
// that somebody else is fetching waits for him, seeing how far he is, and then finds it there (or goes on himself from
// where the other one failed).
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <stop_token>
#include <string>
#include <utility>

#include "base/error.h"
#include "base/mutex.h"

namespace corten::image {

class Transfers {
 public:
  // How far the one who has the turn is; in units that everybody who wants the same thing knows.
  using Position = std::atomic<std::uint64_t>;

  // The right to fetch one thing; given back at the end of its life.
  class Turn {
   public:
    Turn(Turn&& other) noexcept
        : transfers_(std::exchange(other.transfers_, nullptr)),
          name_(std::move(other.name_)),
          position_(std::move(other.position_)) {}
    Turn& operator=(Turn&&) = delete;
    ~Turn() {
      if (transfers_ != nullptr) transfers_->end(name_);
    }
    // For those who wait.
    void report(std::uint64_t position) const { position_->store(position, std::memory_order_relaxed); }

   private:
    friend class Transfers;
    Turn(Transfers* transfers, std::string name, std::shared_ptr<Position> position)
        : transfers_(transfers), name_(std::move(name)), position_(std::move(position)) {}
    Transfers* transfers_;
    std::string name_;
    std::shared_ptr<Position> position_;
  };

  // Waits until nobody else has `name`; cancelled when `stop` fires first. Meanwhile `waiting` is called now and then
  // with what the other one last reported.
  Result<Turn> take(const std::string& name, const std::stop_token& stop,
                    const std::function<void(std::uint64_t)>& waiting = {}) EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    while (!changed_.wait_for(lock, stop, interval, [&]() REQUIRES(mutex_) { return !running_.contains(name); }) &&
           !stop.stop_requested()) {
      const std::uint64_t position = running_.at(name)->load(std::memory_order_relaxed);
      if (!waiting) continue;
      lock.unlock();
      waiting(position);
      lock.lock();
    }
    if (stop.stop_requested()) return fail(ErrorKind::cancelled, "waiting for {} was cancelled", name);
    auto position = std::make_shared<Position>(0);
    running_.emplace(name, position);
    return Turn(this, name, std::move(position));
  }

  // That a blob's content has this diff id, once somebody has seen it, is so for ever: nobody has to look again. Some
  // thousands are remembered.
  void vouch(const std::string& blob, const std::string& diff_id) EXCLUDES(mutex_) {
    const MutexLock lock(mutex_);
    if (contents_.size() >= max_contents) contents_.clear();
    contents_.emplace(blob, diff_id);
  }
  bool is_vouched(const std::string& blob, const std::string& diff_id) EXCLUDES(mutex_) {
    const MutexLock lock(mutex_);
    return contents_.contains({blob, diff_id});
  }

 private:
  static constexpr std::size_t max_contents = 4096;
  static constexpr std::chrono::milliseconds interval{100};

  void end(const std::string& name) EXCLUDES(mutex_) {
    const MutexLock lock(mutex_);
    running_.erase(name);
    changed_.notify_all();
  }

  Mutex mutex_;
  StopCondVar changed_;
  std::map<std::string, std::shared_ptr<Position>> running_ GUARDED_BY(mutex_);
  std::set<std::pair<std::string, std::string>> contents_ GUARDED_BY(mutex_);
};

}  // namespace corten::image
