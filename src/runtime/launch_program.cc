// Finding and starting the container's program, with the texts that Docker's users know.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <optional>

#include "runtime/launch_child.h"

namespace corten::runtime {
namespace {

constexpr std::string_view path_prefix = "PATH=";

std::string_view path_of(const ProcessPlan& process) {
  // The last one counts, as in Docker's own merging of environments.
  std::string_view path;
  for (const std::string_view entry : process.env)
    if (entry.starts_with(path_prefix)) path = entry.substr(path_prefix.size());
  return path;
}

std::unexpected<Error> exec_fail(int error, const std::string& name, std::string_view detail) {
  const auto kind = error == ENOENT || error == ENOTDIR ? ErrorKind::not_found : ErrorKind::forbidden;
  return std::unexpected(Error(kind, fmt::format("exec: \"{}\": {}", name, detail), error));
}

// 0 if the user may run it.
int why_not_executable(const Child& child, const std::string& path) {
  struct stat status{};
  if (::stat(path.c_str(), &status) != 0) return errno;
  if (S_ISDIR(status.st_mode)) return EISDIR;
  // The shim itself, reached through /proc/self/exe (CVE-2019-5736).
  if (status.st_ino == child.own_inode && status.st_dev == child.own_device) return EACCES;
  if (::faccessat(AT_FDCWD, path.c_str(), X_OK, AT_EACCESS) != 0) return errno;
  return (status.st_mode & 0111) != 0 ? 0 : EACCES;
}

std::optional<std::string> search(const Child& child, std::string_view path, const std::string& name) {
  while (!path.empty()) {
    const auto colon = path.find(':');
    const auto directory = path.substr(0, colon);
    path = colon == std::string_view::npos ? std::string_view{} : path.substr(colon + 1);
    if (directory.empty()) continue;
    std::string candidate = fmt::format("{}/{}", directory, name);
    if (why_not_executable(child, candidate) == 0) return candidate;
  }
  return std::nullopt;
}

std::vector<char*> pointers(const std::vector<std::string>& texts) {
  std::vector<char*> result;
  result.reserve(texts.size() + 1);
  for (const auto& text : texts) result.push_back(const_cast<char*>(text.c_str()));
  result.push_back(nullptr);
  return result;
}

}  // namespace

Result<> find_program(Child& child) {
  const auto& name = child.process.args.front();
  if (name.find('/') == std::string::npos) {
    auto found = search(child, path_of(child.process), name);
    if (!found) return exec_fail(ENOENT, name, "executable file not found in $PATH");
    child.program = std::move(*found);
    return {};
  }
  const int error = why_not_executable(child, name);
  if (error == ENOENT || error == ENOTDIR)
    return exec_fail(error, name, fmt::format("stat {}: {}", name, errno_text(error)));
  if (error != 0) return exec_fail(error, name, errno_text(error));
  child.program = name;
  return {};
}

Result<> run_program(Child& child) {
  const auto args = pointers(child.process.args);
  const auto env = pointers(child.process.env);
  ::execve(child.program.c_str(), args.data(), env.data());
  const int error = errno;
  return std::unexpected(Error(error == ENOENT ? ErrorKind::not_found : ErrorKind::forbidden,
                               fmt::format("exec {}: {}", child.program, errno_text(error)), error));
}

}  // namespace corten::runtime
