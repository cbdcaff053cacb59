#include <sys/mount.h>

#include <algorithm>
#include <array>
#include <ctime>

#include "runtime/compile_parts.h"

namespace corten::runtime {
namespace {

constexpr std::array<std::string_view, namespace_kinds> type_names{"user", "mount", "pid",    "network",
                                                                   "ipc",  "uts",   "cgroup", "time"};

Result<std::vector<IdMap>> checked_maps(const std::vector<oci::IdMapping>& mappings, std::string_view field) {
  std::vector<IdMap> maps;
  for (const auto& mapping : mappings) {
    constexpr std::uint64_t limit = 0xffffffffULL;  // the last id means "no id" to the kernel
    if (mapping.size == 0 || std::uint64_t{mapping.container_id} + mapping.size > limit ||
        std::uint64_t{mapping.host_id} + mapping.size > limit)
      return fail(ErrorKind::invalid, "linux.{}: {}:{}:{} is not a range of ids", field, mapping.container_id,
                  mapping.host_id, mapping.size);
    maps.push_back({mapping.container_id, mapping.host_id, mapping.size});
  }
  if (maps.size() > 340) return fail(ErrorKind::invalid, "linux.{}: more than 340 ranges", field);
  return maps;
}

Result<> check_user_namespace(const Compilation& work, LaunchPlan& plan) {
  const auto& config = *work.spec.linux_config;
  const bool creates = work.mode(plan, NamespaceKind::user) == NamespaceMode::create;
  const bool has_maps = !config.uid_mappings.empty() || !config.gid_mappings.empty();
  if (!creates) {
    if (has_maps && work.mode(plan, NamespaceKind::user) == NamespaceMode::inherit)
      return fail(ErrorKind::invalid, "linux.uidMappings need a user namespace");
    return {};
  }
  if (config.uid_mappings.empty() || config.gid_mappings.empty())
    return fail(ErrorKind::invalid, "linux.uidMappings and linux.gidMappings: a new user namespace needs both");
  plan.uid_maps = TRY(checked_maps(config.uid_mappings, "uidMappings"));
  plan.gid_maps = TRY(checked_maps(config.gid_mappings, "gidMappings"));
  return {};
}

Result<> compile_time_offsets(const Compilation& work, LaunchPlan& plan) {
  for (const auto& [name, offset] : work.spec.linux_config->time_offsets) {
    if (work.mode(plan, NamespaceKind::time) != NamespaceMode::create)
      return fail(ErrorKind::invalid, "linux.timeOffsets need a new time namespace");
    if (name != "monotonic" && name != "boottime")
      return fail(ErrorKind::invalid, "linux.timeOffsets: there is no clock \"{}\"", name);
    plan.time_offsets.push_back({name == "monotonic" ? CLOCK_MONOTONIC : CLOCK_BOOTTIME, offset.secs, offset.nanosecs});
  }
  return {};
}

Result<> check_support(const Compilation& work, const LaunchPlan& plan) {
  if (work.mode(plan, NamespaceKind::mount) != NamespaceMode::create)
    return fail(ErrorKind::invalid, "linux.namespaces: a container needs a mount namespace of its own");
  if (work.mode(plan, NamespaceKind::time) != NamespaceMode::inherit && !work.host.time_namespace)
    return fail(ErrorKind::unavailable, "this kernel has no time namespaces (needs Linux 5.6)");
  if (work.mode(plan, NamespaceKind::cgroup) != NamespaceMode::inherit && !work.host.cgroup_namespace)
    return fail(ErrorKind::unavailable, "this kernel has no cgroup namespaces");
  return {};
}

// Which namespace a setting belongs to; none if it is the whole machine's.
std::optional<NamespaceKind> namespace_of_sysctl(std::string_view path) {
  static constexpr std::array<std::string_view, 10> ipc{
      "kernel/msgmax", "kernel/msgmnb", "kernel/msgmni",          "kernel/sem",         "kernel/shmall",
      "kernel/shmmax", "kernel/shmmni", "kernel/shm_rmid_forced", "kernel/msg_next_id", "kernel/sem_next_id"};
  if (path.starts_with("net/")) return NamespaceKind::network;
  if (path.starts_with("fs/mqueue/") || std::ranges::find(ipc, path) != ipc.end()) return NamespaceKind::ipc;
  if (path == "kernel/domainname" || path == "kernel/hostname") return NamespaceKind::uts;
  if (path.starts_with("user/")) return NamespaceKind::user;
  return std::nullopt;
}

// "net.ipv4.ip_forward" or "net/ipv4/conf/eth0.1/forwarding": the separator that comes first is the separator.
std::string sysctl_path(std::string_view name) {
  std::string path(name);
  const auto first = path.find_first_of("./");
  if (first == std::string::npos || path[first] == '/') return path;
  for (auto& c : path) c = c == '.' ? '/' : c == '/' ? '.' : c;
  return path;
}

}  // namespace

Result<NamespaceKind> namespace_kind(std::string_view type) {
  const auto found = std::ranges::find(type_names, type);
  if (found == type_names.end()) return fail(ErrorKind::invalid, "linux.namespaces: there is no type \"{}\"", type);
  return static_cast<NamespaceKind>(found - type_names.begin());
}

Result<> compile_namespaces(Compilation& work, LaunchPlan& plan) {
  std::array<bool, namespace_kinds> seen{};
  for (const auto& ns : work.spec.linux_config->namespaces) {
    const auto index = static_cast<std::size_t>(TRY(namespace_kind(ns.type)));
    if (seen[index]) return fail(ErrorKind::invalid, "linux.namespaces: \"{}\" is there twice", ns.type);
    seen[index] = true;
    plan.namespaces[index] = {ns.path.empty() ? NamespaceMode::create : NamespaceMode::join, no_fd, ns.path};
  }
  for (std::size_t i = 0; i < namespace_kinds; ++i)
    if (work.options.namespace_fds[i] != no_fd)
      plan.namespaces[i] = {NamespaceMode::join, work.options.namespace_fds[i], {}};
  CHECK(check_support(work, plan));
  CHECK(check_user_namespace(work, plan));
  CHECK(compile_time_offsets(work, plan));
  plan.hostname = work.spec.hostname;
  plan.domainname = work.spec.domainname;
  if ((!plan.hostname.empty() || !plan.domainname.empty()) &&
      work.mode(plan, NamespaceKind::uts) == NamespaceMode::inherit)
    return fail(ErrorKind::invalid, "hostname and domainname need a UTS namespace");
  if (plan.hostname.size() > 64) return fail(ErrorKind::invalid, "hostname {} is longer than 64 bytes", plan.hostname);
  if (plan.domainname.size() > 64)
    return fail(ErrorKind::invalid, "domainname {} is longer than 64 bytes", plan.domainname);
  return {};
}

Result<> compile_sysctls(Compilation& work, LaunchPlan& plan) {
  for (const auto& [name, value] : work.spec.linux_config->sysctl) {
    const auto path = sysctl_path(name);
    if (path.empty() || path.starts_with('/') || path.find("..") != std::string::npos)
      return fail(ErrorKind::invalid, "linux.sysctl: \"{}\" is not a setting", name);
    const auto kind = namespace_of_sysctl(path);
    if (!kind) return fail(ErrorKind::invalid, "sysctl \"{}\" is not in a separate kernel namespace", name);
    if (work.mode(plan, *kind) == NamespaceMode::inherit)
      return fail(ErrorKind::invalid, "sysctl \"{}\" is not allowed: the container shares the host's {} namespace",
                  name, type_names[static_cast<std::size_t>(*kind)]);
    if (path == "kernel/hostname")
      return fail(ErrorKind::invalid, "sysctl \"{}\" conflicts with the hostname field", name);
    plan.sysctls.push_back({path, value});
  }
  return {};
}

}  // namespace corten::runtime
