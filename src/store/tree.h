// Walking and copying directory trees by descriptor. Never follows a symbolic link.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/unique_fd.h"
#include "store/snapshots.h"

namespace corten::store {

// Deeper trees are refused by whatever walks them with one descriptor a level (removal is not: it has no limit). No
// walk calls itself: trees are made by people who know how small the stack of a server's thread is.
inline constexpr std::size_t max_depth = 900;

// "/proc/self/fd/N": what a descriptor refers to, for calls that take no descriptor, or no O_PATH one.
std::string fd_path(int fd);

// The names in a directory, sorted by bytes, without "." and "..". Takes an O_PATH descriptor, too.
Result<std::vector<std::string>> list_names(int directory);

// A file, link or special file (no directory) with owner, mode, times and attributes, by O_PATH descriptor.
Result<> copy_node(int from, int parent, const std::string& name);

// Extended attributes worth keeping in archives and copies (security.capability, user.*, POSIX ACLs), by O_PATH
// descriptor.
Result<std::map<std::string, std::string>> kept_xattrs(int fd);

// Blocks and inodes below and including a directory; hard links count once.
Result<DiskUsage> disk_usage(int directory);

}  // namespace corten::store
