// The files of one log: NAME is the newest, NAME.1, NAME.2 … are older ones. They may be renamed at any moment.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/unique_fd.h"

namespace corten::logs {

struct OpenLog {
  UniqueFd fd;
  dev_t device = 0;
  ino_t inode = 0;
  std::uint64_t size = 0;       // when it was opened
  std::int64_t changed_ns = 0;  // its modification time

  bool same_file(const OpenLog& other) const { return device == other.device && inode == other.inode; }
};

// number 0: NAME itself. not_found: no such file. Links and anything but regular files are `invalid`.
Result<OpenLog> open_log(int directory, const std::string& name, unsigned number);
// All of them, oldest first; each once even if it is renamed meanwhile.
Result<std::vector<OpenLog>> open_all_logs(int directory, const std::string& name);
// The one written after `current` was full. not_found: `current` is still the newest (or nothing newer exists yet).
Result<OpenLog> open_next_log(int directory, const std::string& name, const OpenLog& current);

}  // namespace corten::logs
