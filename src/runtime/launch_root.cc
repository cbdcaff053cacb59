// Leaving the host's file system for the container's.
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "runtime/launch_child.h"

namespace corten::runtime {

Result<> enter_root(Child& child) {
  const auto& plan = child.launch->root;
  if (::fchdir(child.root.get()) != 0) return sys_fail("enter the root file system");
  if (plan.no_pivot) {
    // The host's root is the kernel's first mount, which cannot be exchanged. Ours lies on top of it, and that is also
    // where whoever joins this mount namespace lands.
    if (::chroot(".") != 0) return sys_fail("change the root directory");
  } else {
    // New and old root in one place: the old one lands on top, and goes with everything in it.
    if (::syscall(SYS_pivot_root, ".", ".") != 0) return sys_fail("pivot_root");
    if (::umount2(".", MNT_DETACH) != 0) return sys_fail("unmount the old root");
  }
  if (::chdir("/") != 0) return sys_fail("enter the new root");
  if (plan.propagation != 0 && ::mount(nullptr, "/", nullptr, plan.propagation, nullptr) != 0)
    return sys_fail("set the propagation of the root file system");
  return {};
}

Result<> make_root_read_only(Child& child) {
  if (!child.launch->root.readonly) return {};
  return wrap(sys::set_mount_attributes(child.root.get(), {.set = MOUNT_ATTR_RDONLY}, false),
              "make the root read-only");
}

}  // namespace corten::runtime
