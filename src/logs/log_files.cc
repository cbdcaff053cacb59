#include "logs/log_files.h"

#include <fcntl.h>

#include <algorithm>

#include "logs/log_reader.h"

namespace corten::logs {
namespace {

constexpr unsigned max_files = 1000;
// So many numbers in a row without a file are the end: one may be missing because a rotation is under way, which moves
// the files up one by one from the oldest, and another one because the next rotation follows at once.
constexpr unsigned end_after = 3;

std::string numbered(const std::string& name, unsigned number) {
  return number == 0 ? name : fmt::format("{}.{}", name, number);
}

}  // namespace

Result<OpenLog> open_log(int directory, const std::string& name, unsigned number) {
  const std::string file = numbered(name, number);
  OpenLog log;
  log.fd = UniqueFd(::openat(directory, file.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY));
  if (!log.fd) return sys_fail("open log file {}", file);
  struct stat info{};
  if (::fstat(log.fd.get(), &info) != 0) return sys_fail("stat log file {}", file);
  if (!S_ISREG(info.st_mode)) return fail(ErrorKind::invalid, "log file {} is not a regular file", file);
  log.device = info.st_dev;
  log.inode = info.st_ino;
  log.size = static_cast<std::uint64_t>(info.st_size);
  log.changed_ns = info.st_mtim.tv_sec * 1'000'000'000LL + info.st_mtim.tv_nsec;
  return log;
}

Result<std::vector<OpenLog>> open_all_logs(int directory, const std::string& name) {
  std::vector<OpenLog> logs;
  // Newest first: a file renamed under our hands is met again under a higher number, and recognised.
  unsigned missing = 0;
  for (unsigned number = 0; number < max_files && missing < end_after; ++number) {
    auto log = open_log(directory, name, number);
    if (!log && log.error().kind() == ErrorKind::not_found) {
      ++missing;
      continue;
    }
    if (!log) return std::unexpected(std::move(log).error());
    missing = 0;
    const auto known =
        std::any_of(logs.begin(), logs.end(), [&](const OpenLog& other) { return other.same_file(*log); });
    if (!known) logs.push_back(std::move(*log));
  }
  std::reverse(logs.begin(), logs.end());
  return logs;
}

Result<OpenLog> open_next_log(int directory, const std::string& name, const OpenLog& current) {
  struct stat newest{};
  if (::fstatat(directory, name.c_str(), &newest, AT_SYMLINK_NOFOLLOW) == 0 && newest.st_dev == current.device &&
      newest.st_ino == current.inode)
    return fail(ErrorKind::not_found, "no newer log file");
  auto logs = TRY(open_all_logs(directory, name));
  const auto here = std::find_if(logs.begin(), logs.end(), [&](const OpenLog& log) { return log.same_file(current); });
  // Ours is gone already: the oldest there is comes nearest.
  const auto next = here == logs.end() ? logs.begin() : here + 1;
  if (next == logs.end()) return fail(ErrorKind::not_found, "no newer log file");
  return std::move(*next);
}

Result<std::uint64_t> log_size(int log_dir, const std::string& file_name) {
  std::uint64_t total = 0;
  for (const auto& log : TRY(open_all_logs(log_dir, file_name))) total += log.size;
  return total;
}

Result<> remove_log(int log_dir, const std::string& file_name) {
  unsigned missing = 0;
  for (unsigned number = 0; number < max_files && missing < end_after; ++number) {
    missing = ::unlinkat(log_dir, numbered(file_name, number).c_str(), 0) == 0 ? 0 : missing + 1;
    if (missing > 0 && errno != ENOENT) return sys_fail("remove log file {}", numbered(file_name, number));
  }
  return {};
}

}  // namespace corten::logs
