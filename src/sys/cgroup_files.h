// Small reads and writes of control files, and waits for what they do. Private to sys/cgroup*.
#pragma once

#include <algorithm>
#include <chrono>
#include <string>
#include <string_view>
#include <thread>

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

// Waits that the kernel gives no event for: short at first, since most are over at once, and never busy for long.
class Backoff {
 public:
  explicit Backoff(std::chrono::milliseconds limit) : end_(std::chrono::steady_clock::now() + limit) {}
  bool wait() {
    const auto now = std::chrono::steady_clock::now();
    if (now >= end_) return false;
    std::this_thread::sleep_for(std::min<std::chrono::steady_clock::duration>(step_, end_ - now));
    step_ = std::min<std::chrono::microseconds>(step_ * 2, std::chrono::milliseconds(10));
    return true;
  }

 private:
  std::chrono::steady_clock::time_point end_;
  std::chrono::microseconds step_{50};
};

}  // namespace corten::sys::cgroup_files
