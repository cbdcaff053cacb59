#include "daemon/preflight.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <thread>

namespace corten::daemon {
namespace {

using namespace std::chrono_literals;

// A daemon that was killed while it started a program holds its locks through that program's copy of the descriptor
// until the exec, which may take a moment on a busy machine.
constexpr auto claim_pause = 50ms;
constexpr int claim_tries = 20;

}  // namespace

Error with_advice(const Error& error, std::string_view advice) {
  return Error(error.kind(), fmt::format("{}: {}", error.text(), advice), error.sys_errno());
}

Result<> check_root_user() {
  if (geteuid() == 0) return {};
  return fail(ErrorKind::forbidden, "cortend needs to be started as root: use sudo, or run it as a system service");
}

Result<> check_overlayfs() {
  const UniqueFd context(::fsopen("overlay", FSOPEN_CLOEXEC));
  if (context || errno != ENODEV) return {};  // what else is wrong is told by whoever mounts
  return fail(ErrorKind::unavailable,
              "this kernel has no overlayfs, which holds the layers of images: load it with `modprobe overlay`");
}

Result<> make_root(const std::string& path, mode_t mode, std::string_view flag) {
  const auto advice = fmt::format("choose another place with --{}", flag);
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (error) {
    const auto failure = sys_fail_text(error.value(), fmt::format("create {}", path));
    return std::unexpected(with_advice(failure.error(), advice));
  }
  if (::chmod(path.c_str(), mode) == 0 && ::access(path.c_str(), W_OK) == 0) return {};
  const auto failure = sys_fail("make {} usable", path);
  return std::unexpected(with_advice(failure.error(), advice));
}

Result<UniqueFd> claim_directory(const std::string& path, std::string_view what, std::string_view flag) {
  UniqueFd directory(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory) return sys_fail("open {} {}", what, path);
  for (int tries = 0; ::flock(directory.get(), LOCK_EX | LOCK_NB) != 0; ++tries) {
    if (errno != EWOULDBLOCK) return sys_fail("lock {} {}", what, path);
    if (tries == claim_tries)
      return fail(ErrorKind::conflict, "{} {} is in use by another daemon: stop it or choose another --{}", what, path,
                  flag);
    std::this_thread::sleep_for(claim_pause);
  }
  return directory;
}

}  // namespace corten::daemon
