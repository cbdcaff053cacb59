#include "cli/files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdio>
#include <vector>

#include "base/id.h"

namespace corten::cli {

Result<UniqueFd> open_read(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return sys_fail("open {}", path);
  return fd;
}

Result<std::string> read_all(int fd, std::size_t limit) {
  std::string text;
  char chunk[16384];
  for (;;) {
    const ssize_t count = ::read(fd, chunk, sizeof chunk);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return sys_fail("read");
    if (count == 0) return text;
    text.append(chunk, static_cast<std::size_t>(count));
    if (text.size() > limit) return fail(ErrorKind::invalid, "larger than {} bytes", limit);
  }
}

Result<std::string> read_file(const std::string& path, std::size_t limit) {
  const UniqueFd fd = TRY(open_read(path));
  return wrap(read_all(fd.get(), limit), path);
}

std::string absolute_path(std::string_view path) {
  char directory[PATH_MAX];
  std::string whole = path.starts_with('/') ? std::string(path)
                                            : std::string(::getcwd(directory, sizeof directory) ? directory : "/") +
                                                  "/" + std::string(path);
  std::vector<std::string> steps;
  std::size_t at = 0;
  while (at < whole.size()) {
    const auto slash = std::min(whole.find('/', at), whole.size());
    const std::string step = whole.substr(at, slash - at);
    at = slash + 1;
    if (step.empty() || step == ".") continue;
    if (step == "..") {
      if (!steps.empty()) steps.pop_back();
      continue;
    }
    steps.push_back(step);
  }
  std::string out;
  for (const auto& step : steps) out += "/" + step;
  return out.empty() ? "/" : out;
}

Result<NewFile> NewFile::create(const std::string& path) {
  struct stat existing{};
  // A device or a pipe is written in place.
  if (::stat(path.c_str(), &existing) == 0 && !S_ISREG(existing.st_mode)) {
    if (S_ISDIR(existing.st_mode)) return fail(ErrorKind::invalid, "cannot write to a directory");
    UniqueFd direct(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
    if (!direct) return sys_fail("open {}", path);
    return NewFile(std::move(direct), "", path);
  }
  const auto slash = path.rfind('/');
  const std::string directory = slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
  if (::stat(directory.c_str(), &existing) != 0) {
    return fail(ErrorKind::invalid, "invalid output path: stat {}: no such file or directory", directory);
  }
  std::string temporary = directory + "/.corten-" + random_id().substr(0, 12);
  UniqueFd fd(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!fd) return sys_fail("create {}", temporary);
  return NewFile(std::move(fd), std::move(temporary), path);
}

NewFile::NewFile(NewFile&& other) noexcept
    : fd_(std::move(other.fd_)), temporary_(std::exchange(other.temporary_, {})), path_(std::move(other.path_)) {}

NewFile::~NewFile() {
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

Result<> NewFile::commit() {
  if (temporary_.empty()) return {};
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) return sys_fail("rename {} to {}", temporary_, path_);
  temporary_.clear();
  return {};
}

}  // namespace corten::cli
