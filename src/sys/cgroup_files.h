// Small reads and writes of control files. Private to sys/cgroup*.
#pragma once

#include <string>
#include <string_view>

#include "base/error.h"
#include "base/unique_fd.h"

namespace corten::sys::cgroup_files {

// The whole file (at most 1 MiB; control files are far smaller).
Result<std::string> read_at(int directory, const char* name);
Result<> write_at(int directory, const char* name, std::string_view value);
bool exists_at(int directory, const char* name);
Result<UniqueFd> open_directory(const std::string& path);
// Without the white space at both ends.
std::string_view trim(std::string_view text);

}  // namespace corten::sys::cgroup_files
