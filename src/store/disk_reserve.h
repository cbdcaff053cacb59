// The last part of a disk is not for archives: when one fills it, the database and everybody else must still be able to
// write.
#pragma once

#include <sys/statvfs.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>

#include "base/error.h"

namespace corten::store {

// 256 MiB and 10,000 files, or a twentieth of a small file system.
inline constexpr std::uint64_t disk_reserve = 256ULL << 20;
inline constexpr std::uint64_t inode_reserve = 10'000;

// `exhausted` ("no space left on device") when the file system of `fd` has less than the reserve left.
inline Result<> require_disk_reserve(int fd) {
  struct statvfs status{};
  if (::fstatvfs(fd, &status) != 0) return {};  // an odd file system: its own ENOSPC will tell
  const std::uint64_t left = std::uint64_t{status.f_bavail} * status.f_frsize;
  const std::uint64_t size = std::uint64_t{status.f_blocks} * status.f_frsize;
  if (left < std::min(disk_reserve, size / 20)) return sys_fail_text(ENOSPC, "write");
  // Where inodes are made as needed there is no number of them.
  const std::uint64_t inodes = status.f_files;
  if (inodes > 0 && status.f_favail < std::min(inode_reserve, inodes / 20)) return sys_fail_text(ENOSPC, "write");
  return {};
}

}  // namespace corten::store
