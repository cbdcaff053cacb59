// A log that somebody follows: told when nothing more will be written to it.
#pragma once

#include "base/mutex.h"
#include "logs/log_reader.h"

namespace corten::engine {

class FollowedLog {
 public:
  explicit FollowedLog(logs::LogReader& reader) : reader_(&reader) {}
  // The reader is about to go: ends from now on are nobody's business.
  void leave() EXCLUDES(mutex_) {
    const MutexLock lock(mutex_);
    reader_ = nullptr;
  }
  void end() EXCLUDES(mutex_) {
    const MutexLock lock(mutex_);
    if (reader_ != nullptr) reader_->end_of_log();
  }

 private:
  Mutex mutex_;
  logs::LogReader* reader_ GUARDED_BY(mutex_);
};

}  // namespace corten::engine
