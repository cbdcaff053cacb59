// Kernel settings, and what of /proc and /sys a container may not write or see.
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <optional>

#include "runtime/launch_child.h"
#include "sys/beneath.h"

namespace corten::runtime {
namespace {

using sys::Resolve;

constexpr std::uint64_t mask_attributes = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;

// A procfs that is known to be one: the container's own mount, by its descriptor, or a detached one. What an image or a
// volume has at /proc does not matter.
Result<int> proc_directory(Child& child) {
  if (!child.proc) {
    auto made = sys::mount_filesystem("proc", "proc", {}, 0);
    // In a user namespace whose own procfs is masked no other one may be mounted: then that one serves, and what we
    // look up in it stays on that mount.
    if (!made && made.error().sys_errno() == EPERM)
      made = sys::open_beneath(child.root.get(), "proc", O_PATH | O_DIRECTORY, Resolve::no_symlinks);
    child.proc = TRY(std::move(made));
  }
  if (TRY(sys::filesystem_magic(child.proc.get())) != PROC_SUPER_MAGIC)
    return fail(ErrorKind::internal, "this is not a proc file system");
  return child.proc.get();
}

Result<> write_proc(Child& child, const std::string& path, std::string_view value) {
  const int proc = TRY(proc_directory(child));
  const auto file = TRY(sys::open_beneath(proc, path, O_WRONLY | O_NOFOLLOW, Resolve::same_mount));
  const ssize_t written = ::write(file.get(), value.data(), value.size());
  if (written < 0) return sys_fail("write \"{}\"", value);
  if (static_cast<std::size_t>(written) != value.size())
    return fail(ErrorKind::invalid, "write \"{}\": only {} bytes of it were taken", value, written);
  return {};
}

// The O_PATH descriptor of a path to protect; none if the kernel or the image does not have it.
Result<std::optional<UniqueFd>> open_protected(const Child& child, const std::string& path) {
  auto target = sys::open_beneath(child.root.get(), path, O_PATH);
  if (target) return std::optional(std::move(*target));
  if (const int error = target.error().sys_errno(); error == ENOENT || error == ENOTDIR)
    return std::optional<UniqueFd>();
  return std::unexpected(std::move(target).error());
}

Result<> make_read_only(const Child& child, const std::string& path) {
  const auto target = TRY(open_protected(child, path));
  if (!target) return {};
  const auto copy = TRY(sys::clone_mount(target->get(), "", true));
  CHECK(sys::set_mount_attributes(copy.get(), {.set = MOUNT_ATTR_RDONLY}, false));
  return sys::attach_mount(copy.get(), target->get());
}

// One empty read-only tmpfs and one null device serve for all masks: the first is made, the others are copies of that
// mount.
struct Masks {
  UniqueFd directory;
  UniqueFd file;
};

Result<> mask_directory(int target, Masks& masks) {
  if (masks.directory) {
    const auto copy = TRY(sys::clone_mount(masks.directory.get(), "", false));
    return sys::attach_mount(copy.get(), target);
  }
  static const std::array parameters{sys::MountParameter{"nr_inodes", "1", false, -1}};
  auto made = TRY(sys::mount_filesystem("tmpfs", "tmpfs", parameters, mask_attributes));
  CHECK(sys::attach_mount(made.get(), target));
  masks.directory = std::move(made);
  return {};
}

Result<> mask_file(Child& child, int target, Masks& masks) {
  if (masks.file) {
    const auto copy = TRY(sys::clone_mount(masks.file.get(), "", false));
    return sys::attach_mount(copy.get(), target);
  }
  CHECK(sys::attach_mount(child.null_mask.get(), target));
  masks.file = std::move(child.null_mask);
  return {};
}

Result<> mask_one(Child& child, const std::string& path, Masks& masks) {
  const auto target = TRY(open_protected(child, path));
  if (!target) return {};
  struct stat status{};
  if (::fstatat(target->get(), "", &status, AT_EMPTY_PATH) != 0) return sys_fail("stat");
  return S_ISDIR(status.st_mode) ? mask_directory(target->get(), masks) : mask_file(child, target->get(), masks);
}

std::string own_task_file(std::string_view name) {
  const auto pid = ::getpid();
  return fmt::format("{}/task/{}/attr/{}", pid, pid, name);
}

}  // namespace

Result<> write_sysctls(Child& child) {
  for (const auto& sysctl : child.launch->sysctls)
    CHECK_AS(write_proc(child, "sys/" + sysctl.path, sysctl.value), "sysctl " + sysctl.path);
  return {};
}

Result<> make_paths_read_only(Child& child) {
  for (const auto& path : child.launch->readonly_paths) CHECK_AS(make_read_only(child, path), "read-only path " + path);
  return {};
}

Result<> mask_paths(Child& child) {
  Masks masks;
  for (const auto& path : child.launch->masked_paths) CHECK_AS(mask_one(child, path, masks), "masked path " + path);
  return {};
}

// Labels take effect at exec. The file is our own task's, in a procfs that is one (CVE-2019-19921, CVE-2025-52881).
Result<> set_security_labels(Child& child) {
  const auto& process = child.process;
  if (!process.apparmor_profile.empty()) {
    const std::string value = "exec " + process.apparmor_profile;
    auto written = write_proc(child, own_task_file("apparmor/exec"), value);
    if (!written && written.error().sys_errno() == ENOENT) written = write_proc(child, own_task_file("exec"), value);
    CHECK_AS(written, "apparmor profile " + process.apparmor_profile);
  }
  if (!process.selinux_label.empty())
    CHECK_AS(write_proc(child, own_task_file("exec"), process.selinux_label), "selinux label " + process.selinux_label);
  return {};
}

}  // namespace corten::runtime
