#include "sys/files.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <memory>
#include <vector>

#include "base/cleanup.h"
#include "base/id.h"

namespace corten::sys {
namespace {

Result<std::string> read_opened(const UniqueFd& fd, const std::string& path, std::size_t max_bytes) {
  struct stat status{};
  if (::fstat(fd.get(), &status) != 0) return sys_fail("stat {}", path);
  if (!S_ISREG(status.st_mode)) return fail(ErrorKind::invalid, "read {}: not a regular file", path);
  return wrap(read_all(fd.get(), max_bytes), "read " + path);
}

}  // namespace

Result<std::string> read_file(const std::string& path, std::size_t max_bytes) {
  return read_file_at(AT_FDCWD, path, max_bytes);
}

Result<std::string> read_file_at(int directory, const std::string& path, std::size_t max_bytes) {
  // O_NONBLOCK: a FIFO in the file's place must not hold us.
  UniqueFd fd(::openat(directory, path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd) return sys_fail("open {}", path);
  return read_opened(fd, path, max_bytes);
}

Result<std::string> read_all(int fd, std::size_t max_bytes) {
  std::string content;
  std::array<char, 16384> block;
  while (true) {
    const ssize_t length = ::read(fd, block.data(), block.size());
    if (length < 0 && errno == EINTR) continue;
    if (length < 0) return sys_fail("read");
    if (length == 0) return content;
    if (content.size() + static_cast<std::size_t>(length) > max_bytes)
      return fail(ErrorKind::invalid, "larger than {} bytes", max_bytes);
    content.append(block.data(), static_cast<std::size_t>(length));
  }
}

Result<> write_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return sys_fail("write");
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
  return {};
}

Result<> write_existing(const std::string& path, std::string_view value) {
  return write_existing_at(AT_FDCWD, path, value);
}

Result<> write_existing_at(int directory, const std::string& path, std::string_view value) {
  UniqueFd fd(::openat(directory, path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!fd) return sys_fail("open {}", path);
  const ssize_t written = ::write(fd.get(), value.data(), value.size());
  if (written < 0) return sys_fail("write \"{}\" to {}", value, path);
  if (static_cast<std::size_t>(written) != value.size())
    return fail(ErrorKind::internal, "write \"{}\" to {}: cut off", value, path);
  return {};
}

Result<> write_file_atomic(const std::string& path, std::string_view bytes, mode_t mode, Sync sync) {
  const std::string temporary = fmt::format("{}.{}.tmp", path, random_id().substr(0, 12));
  UniqueFd fd(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode));
  if (!fd) return sys_fail("create {}", temporary);
  Cleanup remove([&] { ::unlink(temporary.c_str()); });
  if (::fchmod(fd.get(), mode) != 0) return sys_fail("set the mode of {}", temporary);
  CHECK_AS(write_all(fd.get(), bytes), "write " + temporary);
  if (sync == Sync::yes && ::fdatasync(fd.get()) != 0) return sys_fail("flush {}", temporary);
  if (::rename(temporary.c_str(), path.c_str()) != 0) return sys_fail("rename {} to {}", temporary, path);
  remove.cancel();
  if (sync == Sync::no) return {};
  const auto slash = path.find_last_of('/');
  const auto directory = TRY(open_directory(slash == std::string::npos ? "." : path.substr(0, slash + 1)));
  if (::fsync(directory.get()) != 0) return sys_fail("flush the directory of {}", path);
  return {};
}

Result<UniqueFd> open_file(const std::string& path, int flags, mode_t mode) {
  UniqueFd fd(::open(path.c_str(), flags | O_CLOEXEC, mode));
  if (!fd) return sys_fail("open {}", path);
  return fd;
}

Result<UniqueFd> open_directory(const std::string& path) { return open_file(path, O_RDONLY | O_DIRECTORY); }

Result<> make_directories(const std::string& path, mode_t mode) {
  if (path.empty()) return fail(ErrorKind::invalid, "make directory: empty path");
  if (::mkdir(path.c_str(), mode) == 0) return {};
  const int saved = errno;
  struct stat status{};
  if (saved == EEXIST && ::stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode)) return {};
  const auto slash = path.find_last_of('/', path.find_last_not_of('/'));
  if (saved != ENOENT || slash == std::string::npos || slash == 0)
    return sys_fail_text(saved, "make directory " + path);
  CHECK(make_directories(path.substr(0, slash), mode));
  if (::mkdir(path.c_str(), mode) != 0 && errno != EEXIST) return sys_fail("make directory {}", path);
  return {};
}

Result<UniqueFd> make_memfd(const char* name) {
  UniqueFd fd(::memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd) return sys_fail("make a memory file");
  return fd;
}

Result<> seal_memfd(int fd) {
  if (::fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) != 0)
    return sys_fail("seal a memory file");
  return {};
}

}  // namespace corten::sys
