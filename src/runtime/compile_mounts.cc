#include <sys/mount.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>

#include "runtime/compile_parts.h"
#include "runtime/mount_options.h"

namespace corten::runtime {
namespace {

std::vector<IdMap> id_maps(const std::vector<oci::IdMapping>& mappings) {
  std::vector<IdMap> maps;
  for (const auto& mapping : mappings) maps.push_back({mapping.container_id, mapping.host_id, mapping.size});
  return maps;
}

// "/a//b/./c/" to "/a/b/c". ".." stays: inside the root it is the kernel's to resolve.
std::string clean_target(std::string_view path) {
  std::string clean;
  while (!path.empty()) {
    const auto slash = path.find('/');
    const auto part = path.substr(0, slash);
    path = slash == std::string_view::npos ? std::string_view{} : path.substr(slash + 1);
    if (part.empty() || part == ".") continue;
    clean += '/';
    clean += part;
  }
  return clean.empty() ? "/" : clean;
}

bool own_network(const Compilation& work, const LaunchPlan& plan) {
  return work.mode(plan, NamespaceKind::network) != NamespaceMode::inherit;
}

bool own_users(const Compilation& work, const LaunchPlan& plan) {
  return work.mode(plan, NamespaceKind::user) != NamespaceMode::inherit;
}

bool is_mapped(const std::vector<IdMap>& maps, std::uint32_t id) {
  return std::ranges::any_of(
      maps, [id](const IdMap& map) { return id >= map.container_id && id - map.container_id < map.size; });
}

// --- mounts of type cgroup

MountPlan link(std::string target, std::string text) {
  MountPlan mount;
  mount.kind = MountKind::symlink;
  mount.target = std::move(target);
  mount.source = std::move(text);
  return mount;
}

std::string last_part(const std::string& path) { return path.substr(path.find_last_of('/') + 1); }

// cgroup v1: a tmpfs with one directory for each hierarchy in which the container has a group, bound from the host's
// mounts. In a cgroup namespace they show the container's group as the root, as a mount of the hierarchy would, without
// taking the kernel's cgroup lock.
void add_v1_trees(const Compilation& work, const MountPlan& wanted, LaunchPlan& plan) {
  MountPlan top = wanted;
  top.fstype = "tmpfs";
  top.source = "tmpfs";
  top.parameters = {{"mode", "755", false, -1}};
  top.set &= ~std::uint64_t{MOUNT_ATTR_RDONLY};
  plan.mounts.push_back(top);
  for (const auto& tree : work.host.cgroups.trees_for()) {
    MountPlan part;
    part.kind = MountKind::bind;
    part.target = wanted.target + "/" + last_part(tree.mount_point);
    part.source = tree.mount_point + (work.options.cgroup_path.empty() ? "" : "/" + work.options.cgroup_path);
    part.set = wanted.set;
    part.optional = true;
    plan.mounts.push_back(part);
    if (tree.controllers.size() < 2) continue;
    for (const auto& controller : tree.controllers)
      plan.mounts.push_back(link(wanted.target + "/" + controller, last_part(tree.mount_point)));
  }
  if ((wanted.set & MOUNT_ATTR_RDONLY) == 0) return;
  MountPlan seal;
  seal.kind = MountKind::remount;
  seal.target = wanted.target;
  seal.set = MOUNT_ATTR_RDONLY;
  plan.mounts.push_back(seal);
}

Result<> add_cgroup_mount(Compilation& work, MountPlan mount, LaunchPlan& plan) {
  mount.parameters.clear();
  switch (work.host.cgroups.mode()) {
    case sys::CgroupMode::none:
      work.warn("this machine has no cgroup file system: " + mount.target + " stays empty");
      return {};
    case sys::CgroupMode::v1:
    case sys::CgroupMode::hybrid: add_v1_trees(work, mount, plan); return {};
    case sys::CgroupMode::v2: break;
  }
  if (work.mode(plan, NamespaceKind::cgroup) != NamespaceMode::inherit) {
    mount.fstype = "cgroup2";
    mount.source = "cgroup";
  } else {
    // A mount made in the host's cgroup namespace would set the options of the host's own.
    mount.kind = MountKind::bind;
    mount.source = work.host.cgroups.v2_tree()->mount_point;
    mount.recursive = true;
  }
  plan.mounts.push_back(std::move(mount));
  return {};
}

// --- the others

void finish_bind(const Compilation& work, const oci::Mount& given, MountPlan& mount) {
  mount.kind = MountKind::bind;
  mount.source = absolute_in_bundle(work.options, given.source);
  mount.uid_maps = id_maps(given.uid_mappings);
  mount.gid_maps = id_maps(given.gid_mappings);
  const auto tree = work.options.mount_trees.find(given.destination);
  if (tree != work.options.mount_trees.end()) mount.tree = tree->second;
  // "ro" beside "rro" on the same mount says the same thing.
}

// Without a network namespace that belongs to the container's user namespace, sysfs cannot be mounted: the host's is
// shown.
void share_sysfs(MountPlan& mount) {
  mount.kind = MountKind::bind;
  mount.source = "/sys";
  mount.recursive = true;
  mount.parameters.clear();
  mount.set_recursive |= mount.set & MOUNT_ATTR_RDONLY;
}

void finish_filesystem(const Compilation& work, const oci::Mount& given, const LaunchPlan& plan, MountPlan& mount) {
  mount.kind = MountKind::filesystem;
  mount.fstype = given.type;
  mount.source = given.source.empty() ? given.type : given.source;
  if (given.type == "devpts" && own_users(work, plan) && !is_mapped(plan.gid_maps, 5))
    std::erase_if(mount.parameters, [](const auto& parameter) { return parameter.key == "gid"; });
  if (given.type == "sysfs" && own_users(work, plan) &&
      work.mode(plan, NamespaceKind::network) != NamespaceMode::create && !own_network(work, plan))
    share_sysfs(mount);
}

Result<> add_mount(Compilation& work, const oci::Mount& given, LaunchPlan& plan) {
  if (given.destination.empty()) return fail(ErrorKind::invalid, "mounts: a destination is empty");
  MountPlan mount;
  mount.target = clean_target(given.destination);
  if (mount.target == "/") return fail(ErrorKind::invalid, "mounts: destination cannot be \"/\"");
  bool is_bind = given.type == "bind";
  CHECK_AS(apply_mount_options(given.options, mount, is_bind), "mount " + mount.target);
  if (is_bind) {
    if (given.source.empty()) return fail(ErrorKind::invalid, "mount {}: a bind mount needs a source", mount.target);
    finish_bind(work, given, mount);
  } else if (given.type == "cgroup" || given.type == "cgroup2") {
    return add_cgroup_mount(work, std::move(mount), plan);
  } else if (given.type.empty()) {
    return fail(ErrorKind::invalid, "mount {}: neither a type nor \"bind\" is given", mount.target);
  } else {
    finish_filesystem(work, given, plan, mount);
  }
  plan.mounts.push_back(std::move(mount));
  return {};
}

struct NamedDevice {
  std::string_view path;
  std::uint32_t major;
  std::uint32_t minor;
};
// config-linux.md, "Default Devices".
constexpr std::array default_devices{NamedDevice{"/dev/null", 1, 3},    NamedDevice{"/dev/zero", 1, 5},
                                     NamedDevice{"/dev/full", 1, 7},    NamedDevice{"/dev/random", 1, 8},
                                     NamedDevice{"/dev/urandom", 1, 9}, NamedDevice{"/dev/tty", 5, 0}};

Result<DevicePlan> device_plan(const oci::Device& device) {
  DevicePlan plan;
  plan.path = clean_target(device.path);
  if (device.type == "c" || device.type == "u")
    plan.mode = S_IFCHR;
  else if (device.type == "b")
    plan.mode = S_IFBLK;
  else if (device.type == "p")
    plan.mode = S_IFIFO;
  else
    return fail(ErrorKind::invalid, "device {}: type \"{}\" is none of c, u, b and p", device.path, device.type);
  if (device.major < 0 || device.major > 0xfff || device.minor < 0 || device.minor > 0xfffff)
    return fail(ErrorKind::invalid, "device {}: {}:{} is not a device number", device.path, device.major, device.minor);
  plan.mode |= device.file_mode.value_or(0666) & 07777;
  plan.major = static_cast<std::uint32_t>(device.major);
  plan.minor = static_cast<std::uint32_t>(device.minor);
  plan.uid = device.uid.value_or(0);
  plan.gid = device.gid.value_or(0);
  return plan;
}

bool host_dev_is_bound(const LaunchPlan& plan) {
  return std::ranges::any_of(
      plan.mounts, [](const MountPlan& mount) { return mount.kind == MountKind::bind && mount.target == "/dev"; });
}

}  // namespace

std::string absolute_in_bundle(const CompileOptions& options, const std::string& path) {
  return path.starts_with('/') || options.bundle.empty() ? path : options.bundle + "/" + path;
}

Result<> compile_mounts(Compilation& work, LaunchPlan& plan) {
  for (const auto& mount : work.spec.mounts) CHECK(add_mount(work, mount, plan));
  return {};
}

Result<> compile_devices(Compilation& work, LaunchPlan& plan) {
  // The host's /dev, bound by the user, has all there is, and nothing may be made in it.
  plan.default_dev = !host_dev_is_bound(plan);
  if (!plan.default_dev) return {};
  for (const auto& device : default_devices)
    plan.devices.push_back({std::string(device.path), S_IFCHR | 0666, device.major, device.minor, 0, 0});
  if (!work.spec.linux_config) return {};
  for (const auto& device : work.spec.linux_config->devices) {
    auto made = TRY(device_plan(device));
    const auto same = std::ranges::find(plan.devices, made.path, &DevicePlan::path);
    if (same != plan.devices.end())
      *same = std::move(made);
    else
      plan.devices.push_back(std::move(made));
  }
  return {};
}

}  // namespace corten::runtime
