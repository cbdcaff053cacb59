// Files that have lost their names are freed on a thread of its own: the last close of 100 MB takes milliseconds that
// whoever removes an image need not wait for. A crash loses nothing, the file system frees them then. Private to the
// module.
#pragma once

#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "base/unique_fd.h"

namespace corten::image {

class Disposal {
 public:
  Disposal() = default;
  Disposal(const Disposal&) = delete;
  Disposal& operator=(const Disposal&) = delete;
  ~Disposal() EXCLUDES(mutex_) {
    {
      const MutexLock lock(mutex_);
      ended_ = true;
      changed_.notify_all();
    }
    if (thread_.joinable()) thread_.join();
  }

  // Descriptors of unlinked files.
  void close(std::vector<UniqueFd> files) EXCLUDES(mutex_) {
    if (files.empty()) return;
    const MutexLock lock(mutex_);
    for (UniqueFd& file : files) files_.push_back(std::move(file));
    try {
      if (!thread_.joinable()) thread_ = std::thread([this] { run(); });
      changed_.notify_all();
    } catch (const std::system_error&) {
      files = std::exchange(files_, {});  // closed at return: the caller waits, then
    }
  }

 private:
  void run() EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    for (;;) {
      changed_.wait(lock, [this]() REQUIRES(mutex_) { return ended_ || !files_.empty(); });
      if (files_.empty()) return;
      std::vector<UniqueFd> going = std::exchange(files_, {});
      lock.unlock();
      going.clear();
      lock.lock();
    }
  }

  Mutex mutex_;
  CondVar changed_;
  std::vector<UniqueFd> files_ GUARDED_BY(mutex_);
  bool ended_ GUARDED_BY(mutex_) = false;
  std::thread thread_ GUARDED_BY(mutex_);
};

}  // namespace corten::image
