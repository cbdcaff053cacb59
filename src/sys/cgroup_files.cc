#include "sys/cgroup_files.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>

namespace corten::sys::cgroup_files {

Result<std::string> read_at(int directory, const char* name) {
  constexpr std::size_t limit = 1U << 20;
  const UniqueFd fd(::openat(directory, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!fd) return sys_fail("open {}", name);
  std::string text;
  std::array<char, 4096> block{};
  while (text.size() < limit) {
    const ssize_t got = ::read(fd.get(), block.data(), block.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return sys_fail("read {}", name);
    if (got == 0) return text;
    text.append(block.data(), static_cast<std::size_t>(got));
  }
  return fail(ErrorKind::internal, "read {}: longer than {} bytes", name, limit);
}

Result<> write_at(int directory, const char* name, std::string_view value) {
  const UniqueFd fd(::openat(directory, name, O_WRONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!fd) return sys_fail("open {}", name);
  // One write is one command to the kernel; a control file takes all of it or none.
  ssize_t put = 0;
  do {
    put = ::write(fd.get(), value.data(), value.size());
  } while (put < 0 && errno == EINTR);
  if (put < 0) return sys_fail("write \"{}\" to {}", trim(value), name);
  return {};
}

bool exists_at(int directory, const char* name) { return ::faccessat(directory, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0; }

Result<UniqueFd> open_directory(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
  if (!fd) return sys_fail("open cgroup {}", path);
  return fd;
}

std::string_view trim(std::string_view text) {
  constexpr std::string_view space = " \t\r\n";
  const auto begin = text.find_first_not_of(space);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(space) - begin + 1);
}

}  // namespace corten::sys::cgroup_files
