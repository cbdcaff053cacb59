#include "engine/shared_memory.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <thread>

#include "sys/files.h"
#include "sys/mounts.h"

namespace corten::engine {
namespace {

Result<UniqueFd> clone_inside(int mount_namespace) {
  // The thread's root and working directory must be its own before it may change its mount namespace.
  if (::unshare(CLONE_FS) != 0) return sys_fail("leave the shared file system state");
  if (::setns(mount_namespace, CLONE_NEWNS) != 0) return sys_fail("enter the container's mount namespace");
  open_how how{};
  how.flags = O_PATH | O_DIRECTORY | O_CLOEXEC;
  how.resolve = RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
  const UniqueFd directory(static_cast<int>(::syscall(SYS_openat2, AT_FDCWD, "/dev/shm", &how, sizeof how)));
  if (!directory) return sys_fail("open the container's /dev/shm");
  return sys::clone_mount(directory.get(), "", false);
}

}  // namespace

Result<UniqueFd> clone_shared_memory(pid_t pid) {
  const auto mount_namespace = TRY(sys::open_file(fmt::format("/proc/{}/ns/mnt", pid), O_RDONLY | O_CLOEXEC));
  Result<UniqueFd> mount = UniqueFd();
  std::thread([&] { mount = clone_inside(mount_namespace.get()); }).join();
  return wrap(std::move(mount), "share the memory of another container");
}

}  // namespace corten::engine
