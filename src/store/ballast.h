// Space on the disk that the database keeps for the day when it is full. Private to database.cc.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string>

#include "base/unique_fd.h"
#include "store/disk_reserve.h"

namespace corten::store {

// Enough for the journals and some hundred removals.
inline constexpr off_t ballast_bytes = 2 << 20;

// A file whose blocks are given up when the disk is full, so that the database can still say what is removed: without
// that nothing could be removed, and the disk would stay full.
class Ballast {
 public:
  explicit Ballast(std::string path) : path_(std::move(path)) {}
  // Unless the disk is nearly full.
  void load() {
    if (loaded_) return;
    const UniqueFd fd(::open(path_.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (!fd || !require_disk_reserve(fd.get())) return;
    loaded_ = ::posix_fallocate(fd.get(), 0, ballast_bytes) == 0;
  }
  // True when that made space.
  bool drop() {
    loaded_ = false;
    struct stat status{};
    return ::stat(path_.c_str(), &status) == 0 && status.st_blocks > 0 && ::truncate(path_.c_str(), 0) == 0;
  }

 private:
  const std::string path_;
  bool loaded_ = false;
};

}  // namespace corten::store
