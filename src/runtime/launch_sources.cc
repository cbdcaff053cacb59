#include "runtime/launch_sources.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "sys/files.h"
#include "sys/namespaces.h"

namespace corten::runtime {
namespace {

Result<UniqueFd> copy_of(const UniqueFd& fd) {
  UniqueFd copy(::fcntl(fd.get(), F_DUPFD_CLOEXEC, 3));
  if (!copy) return sys_fail("copy a descriptor");
  return copy;
}

const UniqueFd& at(std::span<const UniqueFd> fds, FdSlot slot) { return fds[static_cast<std::size_t>(slot)]; }

std::vector<sys::IdRange> ranges(const std::vector<IdMap>& maps) {
  std::vector<sys::IdRange> result;
  for (const auto& map : maps) result.push_back({map.container_id, map.host_id, map.size});
  return result;
}

Result<UniqueFd> open_root(const RootPlan& plan, std::span<const UniqueFd> fds) {
  if (plan.mount != no_fd) return copy_of(at(fds, plan.mount));
  auto tree = TRY_AS(sys::clone_mount(AT_FDCWD, plan.path, true), "root file system");
  // Mounts beneath it must not appear on the host, whose mount this copy shares its events with.
  CHECK_AS(sys::set_mount_attributes(tree.get(), {.propagation = MS_PRIVATE}, true), "root file system");
  return tree;
}

Result<> set_id_mapping(const MountPlan& mount, const UniqueFd& tree, std::span<const UniqueFd> fds) {
  const bool by_maps = !mount.uid_maps.empty() || !mount.gid_maps.empty();
  if (mount.idmap_fd == no_fd && !by_maps) return {};
  UniqueFd made;
  if (mount.idmap_fd == no_fd) made = TRY(sys::make_user_namespace(ranges(mount.uid_maps), ranges(mount.gid_maps)));
  const int user_namespace = made ? made.get() : at(fds, mount.idmap_fd).get();
  return wrap(sys::set_mount_attributes(tree.get(), {.set = MOUNT_ATTR_IDMAP, .user_namespace = user_namespace},
                                        mount.idmap_recursive),
              "map ids");
}

Result<> set_bind_attributes(const MountPlan& mount, const UniqueFd& tree) {
  // A copy of a shared mount would carry the container's mounts out to the host, so private is what it is without other
  // orders.
  const bool ordered = mount.propagation != 0;
  const std::uint64_t propagation = ordered ? mount.propagation : std::uint64_t{MS_PRIVATE};
  const bool everywhere = ordered ? mount.propagation_recursive : mount.recursive;
  if (everywhere || mount.set_recursive != 0 || mount.clear_recursive != 0) {
    const sys::MountAttributes all{mount.set_recursive, mount.clear_recursive, everywhere ? propagation : 0, -1};
    CHECK(sys::set_mount_attributes(tree.get(), all, true));
  }
  if (!everywhere || mount.set != 0 || mount.clear != 0) {
    const sys::MountAttributes top{mount.set, mount.clear, everywhere ? 0 : propagation, -1};
    CHECK(sys::set_mount_attributes(tree.get(), top, false));
  }
  return {};
}

Result<UniqueFd> open_bind(const MountPlan& mount, std::span<const UniqueFd> fds) {
  if (mount.kind != MountKind::bind) return UniqueFd();
  auto tree = mount.tree != no_fd ? TRY(copy_of(at(fds, mount.tree)))
                                  : TRY(sys::clone_mount(AT_FDCWD, mount.source, mount.recursive));
  CHECK(set_id_mapping(mount, tree, fds));
  CHECK(set_bind_attributes(mount, tree));
  return tree;
}

Result<UniqueFd> open_host_device(const DevicePlan& device) {
  auto node = TRY(sys::clone_mount(AT_FDCWD, device.path, false, true));
  struct stat status{};
  if (::fstatat(node.get(), "", &status, AT_EMPTY_PATH) != 0) return sys_fail("stat");
  if ((status.st_mode & S_IFMT) != (device.mode & S_IFMT) || status.st_rdev != makedev(device.major, device.minor))
    return fail(ErrorKind::invalid, "the host's file of this name is another device");
  CHECK(sys::set_mount_attributes(node.get(), {.propagation = MS_PRIVATE}, false));
  return node;
}

Result<> open_cgroups(const CgroupPlacement& placement, std::span<const UniqueFd> fds, LaunchSources& sources) {
  for (const auto slot : placement.v1_directories) {
    UniqueFd procs(::openat(at(fds, slot).get(), "cgroup.procs", O_WRONLY | O_CLOEXEC));
    if (!procs) return sys_fail("open cgroup.procs");
    sources.cgroups.push_back(std::move(procs));
  }
  return {};
}

struct SlotCheck {
  std::size_t count;
  bool good = true;
  void operator()(FdSlot slot) { good = good && slot >= no_fd && (slot < 0 || static_cast<std::size_t>(slot) < count); }
  void all(const CgroupPlacement& placement) {
    (*this)(placement.v2_directory);
    for (const auto slot : placement.v1_directories) good = good && slot != no_fd, (*this)(slot);
  }
  void all(const ProcessPlan& process) {
    for (const auto slot : process.stdio) (*this)(slot);
    for (const auto& extra : process.extra_fds) good = good && extra.slot != no_fd, (*this)(extra.slot);
  }
};

// To setresuid and its kin this number means "leave it as it is": the process would stay root.
constexpr std::uint32_t no_id = 0xffffffff;

Result<> check_process(const ProcessPlan& process) {
  if (process.uid == no_id || process.gid == no_id)
    return fail(ErrorKind::invalid, "{} is not a user or group id", no_id);
  if (process.args.empty() || process.args.front().empty()) return fail(ErrorKind::invalid, "no command specified");
  for (const auto& extra : process.extra_fds)
    if (extra.target < 3 || extra.target > 1000)
      return fail(ErrorKind::invalid, "descriptor {} cannot be passed on", extra.target);
  return {};
}

}  // namespace

Result<> check_plan(const LaunchPlan& plan, std::size_t fd_count) {
  SlotCheck check{fd_count};
  check.all(plan.cgroup);
  check.all(plan.process);
  check(plan.root.mount);
  check(plan.start_listener);
  for (const auto& ns : plan.namespaces) check(ns.fd);
  for (const auto& mount : plan.mounts) check(mount.tree), check(mount.idmap_fd);
  if (!check.good) return fail(ErrorKind::invalid, "launch plan: names a descriptor that is not there");
  if (plan.namespaces[static_cast<std::size_t>(NamespaceKind::mount)].mode != NamespaceMode::create)
    return fail(ErrorKind::invalid, "a container needs a mount namespace of its own");
  if (plan.root.mount == no_fd && plan.root.path.empty()) return fail(ErrorKind::invalid, "no root file system");
  return check_process(plan.process);
}

Result<> check_plan(const ExecPlan& plan, std::size_t fd_count) {
  SlotCheck check{fd_count};
  check.all(plan.cgroup);
  check.all(plan.process);
  if (!check.good) return fail(ErrorKind::invalid, "exec plan: names a descriptor that is not there");
  return check_process(plan.process);
}

Result<UniqueFd> open_joined(const NamespacePlan& plan, std::span<const UniqueFd> fds) {
  if (plan.fd != no_fd) return copy_of(at(fds, plan.fd));
  return sys::open_file(plan.path, O_RDONLY);
}

Result<LaunchSources> open_sources(const LaunchPlan& plan, std::span<const UniqueFd> fds) {
  LaunchSources sources;
  sources.root = TRY(open_root(plan.root, fds));
  for (const auto& mount : plan.mounts)
    sources.binds.push_back(TRY_AS(open_bind(mount, fds), fmt::format("mount {} at {}", mount.source, mount.target)));
  const bool binds_devices =
      plan.namespaces[static_cast<std::size_t>(NamespaceKind::user)].mode != NamespaceMode::inherit;
  for (const auto& device : plan.devices)
    sources.devices.push_back(binds_devices ? TRY_AS(open_host_device(device), "device " + device.path) : UniqueFd());
  CHECK(open_cgroups(plan.cgroup, fds, sources));
  if (binds_devices) sources.null_device = TRY(sys::open_file("/dev/null", O_RDWR));
  return sources;
}

Result<LaunchSources> open_sources(const ExecPlan& plan, std::span<const UniqueFd> fds) {
  LaunchSources sources;
  CHECK(open_cgroups(plan.cgroup, fds, sources));
  if ((plan.namespaces & CLONE_NEWUSER) != 0) sources.null_device = TRY(sys::open_file("/dev/null", O_RDWR));
  return sources;
}

}  // namespace corten::runtime
