// Whole files, bounded.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/unique_fd.h"

namespace corten::sys {

enum class Sync : bool { no, yes };

// All of a file that has at most `max_bytes`; `invalid` if it has more. Only regular files and those of proc, sysfs,
// cgroupfs.
Result<std::string> read_file(const std::string& path, std::size_t max_bytes = 1U << 20);
Result<std::string> read_file_at(int directory, const std::string& path, std::size_t max_bytes = 1U << 20);
// From the descriptor's current position to the end.
Result<std::string> read_all(int fd, std::size_t max_bytes);
Result<> write_all(int fd, std::string_view bytes);
// One write(2) to an existing file (no O_CREAT), for proc, sysfs and cgroupfs. A short write is an error.
Result<> write_existing(const std::string& path, std::string_view value);
Result<> write_existing_at(int directory, const std::string& path, std::string_view value);
// Temporary file in the same directory, then rename: readers see the old or the new content. With Sync::yes the file
// and its directory are flushed.
Result<> write_file_atomic(const std::string& path, std::string_view bytes, mode_t mode = 0644, Sync sync = Sync::no);

Result<UniqueFd> open_file(const std::string& path, int flags, mode_t mode = 0);
Result<UniqueFd> open_directory(const std::string& path);
// mkdir -p on the machine's own (trusted) paths.
Result<> make_directories(const std::string& path, mode_t mode = 0755);
// rm -rf of any depth that never follows a link and never crosses into what it did not open; not_found is no error.
Result<> remove_tree(const std::string& path);
Result<> remove_tree_at(int parent, const std::string& name);

// Anonymous memory file. `sealed` content cannot change any more.
Result<UniqueFd> make_memfd(const char* name);
Result<> seal_memfd(int fd);

}  // namespace corten::sys
