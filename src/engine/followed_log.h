// A log that somebody follows: told when nothing more will be written to it.
#pragma once

#include <memory>
#include <mutex>

#include "logs/log_reader.h"

namespace corten::engine {

class FollowedLog {
 public:
  explicit FollowedLog(logs::LogReader& reader) : reader_(&reader) {}
  // The reader is about to go: ends from now on are nobody's business.
  void leave() {
    const std::lock_guard lock(mutex_);
    reader_ = nullptr;
  }
  void end() {
    const std::lock_guard lock(mutex_);
    if (reader_ != nullptr) reader_->end_of_log();
  }

 private:
  std::mutex mutex_;
  logs::LogReader* reader_;  // guarded by mutex_
};

}  // namespace corten::engine
