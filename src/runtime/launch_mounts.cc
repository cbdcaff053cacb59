// Mounts of a container, each put onto a descriptor that openat2 found inside the root: no path is used twice, so a
// link that is swapped between look-up and use has no effect.
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>

#include <algorithm>
#include <array>

#include "runtime/launch_child.h"
#include "runtime/launch_copy_up.h"
#include "runtime/launch_protocol.h"
#include "sys/beneath.h"

namespace corten::runtime {
namespace {

using sys::Resolve;

// File systems by which a process tells facts about itself and the kernel: they must be where they seem to be.
bool is_kernel_view(const MountPlan& mount) { return mount.fstype == "proc" || mount.fstype == "sysfs"; }

// The only places inside a procfs that something may be mounted on (what lxcfs and friends replace).
bool may_cover_proc(std::string_view target) {
  static constexpr std::array<std::string_view, 9> allowed{
      "/proc/cpuinfo", "/proc/diskstats", "/proc/meminfo",
      "/proc/stat",    "/proc/swaps",     "/proc/uptime",
      "/proc/loadavg", "/proc/slabinfo",  "/proc/sys/kernel/ns_last_pid"};
  return std::ranges::find(allowed, target) != allowed.end();
}

Result<> check_target(const MountPlan& mount, int target) {
  if (TRY(sys::filesystem_magic(target)) != PROC_SUPER_MAGIC || may_cover_proc(mount.target)) return {};
  return fail(ErrorKind::invalid, "mounting over a file of the proc file system is not allowed");
}

Result<UniqueFd> open_target(const Child& child, const MountPlan& mount, bool is_file) {
  if (is_file) return sys::make_file_beneath(child.root.get(), mount.target);
  // A symbolic link at /proc or /sys would let the image choose what we take for them.
  const auto resolve = is_kernel_view(mount) ? Resolve::no_symlinks : Resolve::in_root;
  auto target = sys::make_directories_beneath(child.root.get(), mount.target, 0755, resolve);
  if (!target && is_kernel_view(mount) &&
      (target.error().sys_errno() == ELOOP || target.error().sys_errno() == ENOTDIR))
    return fail(ErrorKind::invalid, "{} must be mounted on an ordinary directory", mount.fstype);
  return target;
}

// Our own mounts that later steps work in are remembered by descriptor.
Result<> remember(Child& child, const MountPlan& mount, UniqueFd tree) {
  if (mount.target == "/dev")
    child.dev = std::move(tree);
  else if (mount.fstype == "proc" && mount.target == "/proc")
    child.proc = std::move(tree);
  else if (mount.fstype == "devpts")
    child.devpts = std::move(tree);
  return {};
}

Result<> mount_new(Child& child, const MountPlan& mount) {
  auto tree = TRY(sys::mount_filesystem(mount.fstype, mount.source, mount.parameters, mount.set));
  const auto target = TRY(open_target(child, mount, false));
  if (!is_kernel_view(mount)) CHECK(check_target(mount, target.get()));
  if (mount.copy_up) CHECK(copy_up(target.get(), tree.get()));
  if (mount.propagation != 0)
    CHECK(sys::set_mount_attributes(tree.get(), {.propagation = mount.propagation}, mount.propagation_recursive));
  CHECK(sys::attach_mount(tree.get(), target.get()));
  return remember(child, mount, std::move(tree));
}

Result<> mount_bind(Child& child, const MountPlan& mount, UniqueFd& tree) {
  struct stat status{};
  if (::fstatat(tree.get(), "", &status, AT_EMPTY_PATH) != 0) return sys_fail("stat the source");
  const auto target = TRY(open_target(child, mount, !S_ISDIR(status.st_mode)));
  CHECK(check_target(mount, target.get()));
  CHECK(sys::attach_mount(tree.get(), target.get()));
  return remember(child, mount, std::move(tree));
}

Result<> change_mount(const Child& child, const MountPlan& mount) {
  const auto target = TRY(sys::open_beneath(child.root.get(), mount.target, O_PATH));
  if (mount.set != 0 || mount.clear != 0)
    CHECK(sys::set_mount_attributes(target.get(), {.set = mount.set, .clear = mount.clear}, false));
  if (mount.set_recursive != 0 || mount.clear_recursive != 0)
    CHECK(sys::set_mount_attributes(target.get(), {.set = mount.set_recursive, .clear = mount.clear_recursive}, true));
  if (mount.propagation != 0)
    CHECK(sys::set_mount_attributes(target.get(), {.propagation = mount.propagation}, mount.propagation_recursive));
  return {};
}

Result<> make_link(const Child& child, const MountPlan& mount) {
  auto made = sys::symlink_beneath(child.root.get(), mount.target, mount.source.c_str());
  if (!made && made.error().sys_errno() == EEXIST) return {};
  return made;
}

Result<> make_one(Child& child, const MountPlan& mount, UniqueFd& tree) {
  switch (mount.kind) {
    case MountKind::filesystem: return mount_new(child, mount);
    case MountKind::bind: return mount_bind(child, mount, tree);
    case MountKind::remount: return change_mount(child, mount);
    case MountKind::symlink: return make_link(child, mount);
  }
  return {};
}

}  // namespace

Result<> attach_root(Child& child) {
  // Nothing that happens in here may reach the host's mounts.
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return sys_fail("make mounts private");
  // On top of "/": the old root stays ours until pivot_root, and no directory on the host is needed as a mount point.
  if (::move_mount(child.sources.root.get(), "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH) != 0)
    return sys_fail("attach the root file system");
  child.root = std::move(child.sources.root);
  return {};
}

Result<> make_mounts(Child& child) {
  for (std::size_t i = 0; i < child.launch->mounts.size(); ++i) {
    const auto& mount = child.launch->mounts[i];
    auto made = make_one(child, mount, child.sources.binds[i]);
    if (made) continue;
    Error error = std::move(made).error().wrap("mount " + mount.target);
    if (!mount.optional) return std::unexpected(std::move(error));
    CHECK(send(child.control, MessageType::warning, 0, error.text()));
  }
  return {};
}

}  // namespace corten::runtime
