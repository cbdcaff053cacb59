#include "engine/runtime_spec.h"

#include <fcntl.h>

#include <algorithm>
#include <array>

#include "engine/devices.h"
#include "runtime/seccomp_compile.h"
#include "sys/capability.h"
#include "sys/files.h"
#include "sys/passwd.h"
#include "sys/rlimit.h"

namespace corten::engine {
namespace {

using spec::HostConfig;

constexpr std::string_view default_path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
constexpr std::string_view init_target = "/sbin/docker-init";
constexpr std::size_t max_seccomp_profile = 4 << 20;

constexpr std::array<std::string_view, 14> default_capabilities{
    "CAP_AUDIT_WRITE", "CAP_CHOWN",   "CAP_DAC_OVERRIDE",     "CAP_FOWNER",    "CAP_FSETID",
    "CAP_KILL",        "CAP_MKNOD",   "CAP_NET_BIND_SERVICE", "CAP_NET_RAW",   "CAP_SETFCAP",
    "CAP_SETGID",      "CAP_SETPCAP", "CAP_SETUID",           "CAP_SYS_CHROOT"};

bool contains(const std::vector<std::string>& list, std::string_view word) {
  return std::ranges::find(list, word) != list.end();
}

// --- identity

Result<sys::CapabilityMask> capability_mask(const HostConfig& host, bool privileged) {
  if (privileged) return sys::all_capabilities();
  sys::CapabilityMask mask = 0;
  for (const std::string_view name : default_capabilities)
    mask |= sys::capability_bit(TRY(sys::capability_from_name(name)));
  if (contains(host.cap_add, "ALL")) mask = sys::all_capabilities();
  if (contains(host.cap_drop, "ALL")) mask = contains(host.cap_add, "ALL") ? mask : 0;
  for (const std::string& name : host.cap_drop)
    if (name != "ALL") mask &= ~sys::capability_bit(TRY(sys::capability_from_name(name)));
  for (const std::string& name : host.cap_add)
    if (name != "ALL") mask |= sys::capability_bit(TRY(sys::capability_from_name(name)));
  return mask;
}

// Inheritable and ambient stay empty (CVE-2022-24769). A user other than root starts with nothing in force; what
// it may regain through a set-uid program is the bounding set.
oci::Capabilities to_capabilities(sys::CapabilityMask mask, std::uint32_t uid) {
  oci::Capabilities sets;
  sets.bounding = sys::capability_names(mask);
  if (uid == 0) {
    sets.effective = sets.bounding;
    sets.permitted = sets.bounding;
  }
  return sets;
}

std::string_view variable_name(std::string_view assignment) { return assignment.substr(0, assignment.find('=')); }

// `base` first, `over` replaces variables of the same name; a name without "=" takes the variable away.
std::vector<std::string> override_environment(std::vector<std::string> base, const std::vector<std::string>& over) {
  for (const std::string& assignment : over) {
    const std::string_view name = variable_name(assignment);
    const auto same = [&](const std::string& ours) { return variable_name(ours) == name; };
    const auto found = std::ranges::find_if(base, same);
    if (assignment.find('=') == std::string::npos) {
      if (found != base.end()) base.erase(found);
    } else if (found != base.end()) {
      *found = assignment;
    } else {
      base.push_back(assignment);
    }
  }
  return base;
}

std::vector<std::string> environment(const Definition& definition, const std::string& hostname, const std::string& home,
                                     const std::vector<std::string>& link_env) {
  std::vector<std::string> env{fmt::format("PATH={}", default_path), fmt::format("HOSTNAME={}", hostname)};
  if (definition.config.tty) env.emplace_back("TERM=xterm");
  env.insert(env.end(), link_env.begin(), link_env.end());
  env = override_environment(std::move(env), definition.config.env);
  const auto is_home = [](const std::string& assignment) { return variable_name(assignment) == "HOME"; };
  if (std::ranges::none_of(env, is_home)) env.push_back(fmt::format("HOME={}", home));
  return env;
}

bool no_new_privileges(const HostConfig& host, const Settings& settings) {
  for (const std::string& option : host.security_opt) {
    if (option == "no-new-privileges" || option == "no-new-privileges=true" || option == "no-new-privileges:true")
      return true;
    if (option == "no-new-privileges=false" || option == "no-new-privileges:false") return false;
  }
  return settings.no_new_privileges;
}

std::vector<oci::Rlimit> rlimits(const HostConfig& host) {
  std::vector<oci::Rlimit> limits;
  for (const spec::Ulimit& limit : host.ulimits) {
    const auto number = sys::rlimit_from_name(limit.name);
    if (!number) continue;  // `complete` has refused it
    const auto value = [](std::int64_t given) {
      return given < 0 ? sys::rlimit_infinity : static_cast<std::uint64_t>(given);
    };
    limits.push_back({std::string(sys::rlimit_name(*number)), value(limit.soft), value(limit.hard)});
  }
  return limits;
}

Result<oci::Process> build_process(const Definition& definition, const StartFacts& facts, const Settings& settings) {
  const spec::ContainerConfig& config = definition.config;
  const HostConfig& host = definition.host_config;
  oci::Process process;
  process.terminal = config.tty;
  if (config.tty && host.console_size.size() == 2 && host.console_size[0] != 0)
    process.console_size = oci::ConsoleSize{host.console_size[0], host.console_size[1]};
  const sys::UserIdentity user = TRY(sys::resolve_user_in(facts.rootfs, config.user, host.group_add));
  process.user.uid = user.uid;
  process.user.gid = user.gid;
  process.user.additional_gids = user.groups;
  process.args.push_back(definition.path);
  process.args.insert(process.args.end(), definition.args.begin(), definition.args.end());
  if (!facts.init_program.empty()) {
    const std::array<std::string, 2> prefix{std::string(init_target), "--"};
    process.args.insert(process.args.begin(), prefix.begin(), prefix.end());
  }
  process.env =
      override_environment(environment(definition, facts.hostname, user.home, facts.link_env), facts.secret_env);
  process.cwd = config.working_dir.empty() ? "/" : config.working_dir;
  const sys::CapabilityMask capabilities = TRY(capability_mask(host, host.privileged));
  process.capabilities = to_capabilities(capabilities, user.uid);
  process.rlimits = rlimits(host);
  process.no_new_privileges = no_new_privileges(host, settings);
  if (host.oom_score_adj != 0) process.oom_score_adj = host.oom_score_adj;
  return process;
}

// --- file systems

using Options = std::vector<std::string>;

oci::Mount file_system(std::string destination, std::string type, Options options) {
  oci::Mount mount;
  mount.source = type;
  mount.destination = std::move(destination);
  mount.type = std::move(type);
  mount.options = std::move(options);
  return mount;
}

oci::Mount bind(std::string source, std::string destination, Options options) {
  oci::Mount mount;
  mount.destination = std::move(destination);
  mount.type = "bind";
  mount.source = std::move(source);
  mount.options = std::move(options);
  return mount;
}

bool is_shared(std::string_view mode) { return mode == "host" || mode.starts_with("container:"); }

bool writable_cgroups(const HostConfig& host) {
  return host.privileged || contains(host.security_opt, "writable-cgroups=true");
}

std::vector<oci::Mount> system_mounts(const HostConfig& host, const StartFacts& facts) {
  std::vector<oci::Mount> mounts;
  mounts.push_back(file_system("/proc", "proc", {"nosuid", "noexec", "nodev"}));
  mounts.push_back(file_system("/dev", "tmpfs", {"nosuid", "strictatime", "mode=755", "size=65536k"}));
  mounts.push_back(
      file_system("/dev/pts", "devpts", {"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"}));
  Options sys{"nosuid", "noexec", "nodev"};
  if (!host.privileged) sys.emplace_back("ro");
  mounts.push_back(file_system("/sys", "sysfs", sys));
  Options cgroup{"nosuid", "noexec", "nodev"};
  if (!writable_cgroups(host)) cgroup.emplace_back("ro");
  mounts.push_back(file_system("/sys/fs/cgroup", "cgroup", cgroup));
  // Shows the queues of whichever IPC namespace the container is in, the host's included.
  mounts.push_back(file_system("/dev/mqueue", "mqueue", {"nosuid", "noexec", "nodev"}));
  if (!facts.shm_source.empty())
    mounts.push_back(bind(facts.shm_source, "/dev/shm", {"rbind", "rprivate"}));
  else if (host.ipc_mode != "none")
    mounts.push_back(file_system("/dev/shm", "tmpfs",
                                 {"nosuid", "noexec", "nodev", "mode=1777", fmt::format("size={}", host.shm_size)}));
  return mounts;
}

std::vector<oci::Mount> generated_files(const HostConfig& host, const StartFacts& facts) {
  std::vector<oci::Mount> mounts;
  const std::array<std::pair<std::string_view, const std::string*>, 3> files{
      {{"/etc/resolv.conf", &facts.resolv_conf_path},
       {"/etc/hostname", &facts.hostname_path},
       {"/etc/hosts", &facts.hosts_path}}};
  for (const auto& [destination, source] : files) {
    if (source->empty()) continue;
    Options options{"rbind", "rprivate"};
    if (host.readonly_rootfs) options.emplace_back("ro");
    mounts.push_back(bind(*source, std::string(destination), std::move(options)));
  }
  if (!facts.init_program.empty())
    mounts.push_back(bind(facts.init_program, std::string(init_target), {"bind", "rprivate", "ro"}));
  return mounts;
}

// --tmpfs PATH[:OPTIONS]
std::vector<oci::Mount> tmpfs_mounts(const HostConfig& host) {
  std::vector<oci::Mount> mounts;
  for (const auto& [path, text] : host.tmpfs) {
    Options options{"noexec", "nosuid", "nodev"};
    std::string_view rest = text;
    while (!rest.empty()) {
      const std::string_view word = rest.substr(0, rest.find(','));
      rest.remove_prefix(std::min(rest.size(), word.size() + 1));
      if (word.empty()) continue;
      // "exec" takes "noexec" away and so on.
      std::erase_if(options, [&](const std::string& option) { return option == fmt::format("no{}", word); });
      options.emplace_back(word);
    }
    mounts.push_back(file_system(path, "tmpfs", std::move(options)));
  }
  return mounts;
}

bool is_at_or_below(std::string_view path, std::string_view directory) {
  return path == directory || (path.starts_with(directory) && path[directory.size()] == '/');
}

// What the user mounts himself replaces ours at the same place; what he mounts above ours hides it.
std::vector<oci::Mount> combine(std::vector<oci::Mount> ours, std::vector<oci::Mount> theirs) {
  std::erase_if(ours, [&](const oci::Mount& mount) {
    return std::ranges::any_of(theirs, [&](const oci::Mount& user) {
      return is_at_or_below(mount.destination, user.destination) ||
             (user.destination == "/dev" && mount.destination.starts_with("/dev/"));
    });
  });
  std::ranges::stable_sort(theirs, {}, [](const oci::Mount& mount) { return mount.destination; });
  ours.insert(ours.end(), std::make_move_iterator(theirs.begin()), std::make_move_iterator(theirs.end()));
  return ours;
}

std::string rootfs_propagation(const std::vector<MountDetail>& mounts) {
  std::string propagation = "private";
  for (const MountDetail& mount : mounts) {
    if (mount.propagation.ends_with("shared")) return "shared";
    if (mount.propagation.ends_with("slave")) propagation = "slave";
  }
  return propagation;
}

// --- namespaces, sysctls, seccomp

std::vector<oci::Namespace> namespaces(const HostConfig& host, const StartFacts& facts) {
  std::vector<oci::Namespace> list{{"mount", ""}};
  const auto add = [&](std::string_view type, std::string_view mode, const std::string& path) {
    if (mode != "host") list.push_back({std::string(type), path});
  };
  add("pid", host.pid_mode, facts.pid_namespace_path);
  add("ipc", host.ipc_mode, facts.ipc_namespace_path);
  add("uts", host.uts_mode, facts.uts_namespace_path);
  add("network", host.network_mode, facts.network_namespace_path);
  add("cgroup", host.cgroupns_mode, facts.cgroup_namespace_path);
  if (facts.user_mapping) list.push_back({"user", ""});
  return list;
}

std::map<std::string, std::string> sysctls(const HostConfig& host, const StartFacts& facts) {
  std::map<std::string, std::string> values;
  if (!is_shared(host.network_mode)) {
    // Docker's conveniences for containers with a network of their own: low ports and ping without rights.
    values["net.ipv4.ip_unprivileged_port_start"] = "0";
    if (!facts.user_mapping) values["net.ipv4.ping_group_range"] = "0 2147483647";
  }
  for (const auto& [name, value] : host.sysctls) values[name] = value;
  return values;
}

Result<std::optional<oci::Seccomp>> seccomp(const HostConfig& host, const Settings& settings,
                                            sys::CapabilityMask mask) {
  std::string profile = settings.seccomp_profile;
  bool from_file = !profile.empty() && profile != "builtin" && profile != "unconfined";
  for (const std::string& option : host.security_opt) {
    if (!option.starts_with("seccomp=") && !option.starts_with("seccomp:")) continue;
    profile = option.substr(8);
    from_file = false;
  }
  if (profile == "unconfined" || host.privileged) return std::optional<oci::Seccomp>();
  if (profile.empty() || profile == "builtin") return TRY(runtime::docker_default_seccomp(mask));
  if (from_file) profile = TRY_AS(sys::read_file(profile, max_seccomp_profile), "read the daemon's seccomp profile");
  // The client sends the file's content, not its name.
  return TRY_AS(runtime::resolve_seccomp_profile(profile, mask), "decoding seccomp profile failed");
}

// --- userns-remap

struct Range {
  std::uint32_t first = 0;
  std::uint32_t count = 0;
};

Result<Range> subordinate_range(const char* path, std::string_view user) {
  const std::string text = TRY(sys::read_file(path, 1 << 20));
  std::string_view rest = text;
  while (!rest.empty()) {
    const std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(rest.size(), line.size() + 1));
    const std::size_t first = line.find(':');
    const std::size_t second = line.find(':', first + 1);
    if (first == std::string_view::npos || second == std::string_view::npos || line.substr(0, first) != user) continue;
    Range range;
    const std::string start(line.substr(first + 1, second - first - 1));
    const std::string count(line.substr(second + 1));
    try {
      range.first = static_cast<std::uint32_t>(std::stoul(start));
      range.count = static_cast<std::uint32_t>(std::stoul(count));
    } catch (const std::exception&) {
      return fail(ErrorKind::invalid, "{}: the line of {} has no number", path, user);
    }
    if (range.count > 0) return range;
  }
  return fail(ErrorKind::invalid, "userns-remap: {} gives no ids to user {}: add a line like {}:100000:65536", path,
              user, user);
}

}  // namespace

Result<std::optional<UserMapping>> user_mapping(const HostConfig& host, const Settings& settings) {
  if (settings.userns_remap.empty() || host.userns_mode == "host") return std::optional<UserMapping>();
  const std::string name = settings.userns_remap == "default" ? "dockremap" : settings.userns_remap;
  const std::string user = name.substr(0, name.find(':'));
  const std::string group = name.find(':') == std::string::npos ? user : name.substr(name.find(':') + 1);
  const Range uids = TRY(subordinate_range("/etc/subuid", user));
  const Range gids = TRY(subordinate_range("/etc/subgid", group));
  UserMapping mapping;
  mapping.uids.push_back({0, uids.first, uids.count});
  mapping.gids.push_back({0, gids.first, gids.count});
  return mapping;
}

Result<oci::ProcessUser> resolve_user(std::string_view user, const std::vector<std::string>& group_add, int rootfs) {
  const sys::UserIdentity identity = TRY(sys::resolve_user_in(rootfs, user, group_add));
  oci::ProcessUser result;
  result.uid = identity.uid;
  result.gid = identity.gid;
  result.additional_gids = identity.groups;
  return result;
}

Result<oci::Resources> build_resources(const HostConfig& host) {
  oci::Resources resources;
  oci::MemoryResources memory;
  if (host.memory != 0) memory.limit = host.memory;
  if (host.memory_reservation != 0) memory.reservation = host.memory_reservation;
  if (host.memory_swap != 0) memory.swap = host.memory_swap;
  if (host.kernel_memory_tcp != 0) memory.kernel_tcp = host.kernel_memory_tcp;
  if (host.memory_swappiness) memory.swappiness = static_cast<std::uint64_t>(*host.memory_swappiness);
  if (host.oom_kill_disable.value_or(false)) memory.disable_oom_killer = true;
  resources.memory = memory;

  oci::CpuResources cpu;
  if (host.cpu_shares != 0) cpu.shares = static_cast<std::uint64_t>(host.cpu_shares);
  if (host.cpu_quota != 0) cpu.quota = host.cpu_quota;
  if (host.cpu_period != 0) cpu.period = static_cast<std::uint64_t>(host.cpu_period);
  if (host.nano_cpus != 0) {
    cpu.period = 100'000;
    cpu.quota = std::max<std::int64_t>(host.nano_cpus / 10'000, 1000);
  }
  if (host.cpu_realtime_period != 0) cpu.realtime_period = static_cast<std::uint64_t>(host.cpu_realtime_period);
  if (host.cpu_realtime_runtime != 0) cpu.realtime_runtime = host.cpu_realtime_runtime;
  cpu.cpus = host.cpuset_cpus;
  cpu.mems = host.cpuset_mems;
  resources.cpu = cpu;

  if (host.pids_limit) resources.pids = oci::PidsResources{*host.pids_limit};
  resources.block_io = TRY(block_io(host));
  return resources;
}

Result<oci::RuntimeSpec> build_runtime_spec(const Definition& definition, const std::vector<MountDetail>& mounts,
                                            const StartFacts& facts, const Settings& settings, const HostFeatures&) {
  const HostConfig& host = definition.host_config;
  oci::RuntimeSpec result;
  result.oci_version = oci::runtime_spec_version;
  result.process = TRY(build_process(definition, facts, settings));
  result.root = oci::Root{"rootfs", host.readonly_rootfs};
  if (!is_shared(host.uts_mode)) {
    result.hostname = facts.hostname;
    result.domainname = definition.config.domainname;
  }
  result.annotations = host.annotations;

  std::vector<oci::Mount> ours = system_mounts(host, facts);
  std::ranges::move(generated_files(host, facts), std::back_inserter(ours));
  std::vector<oci::Mount> theirs = tmpfs_mounts(host);
  for (const MountDetail& detail : mounts) theirs.push_back(runtime_mount(detail));
  result.mounts = combine(std::move(ours), std::move(theirs));

  oci::Linux linux_part;
  linux_part.namespaces = namespaces(host, facts);
  if (facts.user_mapping) {
    linux_part.uid_mappings = facts.user_mapping->uids;
    linux_part.gid_mappings = facts.user_mapping->gids;
  }
  linux_part.resources = TRY(build_resources(host));
  DeviceAccess access = TRY(device_access(host));
  linux_part.devices = std::move(access.nodes);
  linux_part.resources->devices = std::move(access.rules);
  linux_part.cgroups_path = facts.cgroup_path;
  linux_part.rootfs_propagation = rootfs_propagation(mounts);
  const sys::CapabilityMask capabilities = TRY(capability_mask(host, host.privileged));
  linux_part.seccomp = TRY(seccomp(host, settings, capabilities));
  linux_part.sysctl = sysctls(host, facts);
  linux_part.masked_paths = host.masked_paths.value_or(spec::Strings());
  linux_part.readonly_paths = host.readonly_paths.value_or(spec::Strings());
  result.linux_config = std::move(linux_part);
  return result;
}

Result<oci::Process> build_exec_process(const Definition& definition, const ExecConfig& exec,
                                        const std::vector<std::string>& link_env, int rootfs, const Settings& settings,
                                        const HostFeatures&) {
  const HostConfig& host = definition.host_config;
  oci::Process process;
  process.terminal = exec.tty;
  if (exec.tty && exec.console_size.size() == 2 && exec.console_size[0] != 0)
    process.console_size = oci::ConsoleSize{exec.console_size[0], exec.console_size[1]};
  const std::string& user_text = exec.user.empty() ? definition.config.user : exec.user;
  const sys::UserIdentity user = TRY(sys::resolve_user_in(rootfs, user_text, host.group_add));
  process.user.uid = user.uid;
  process.user.gid = user.gid;
  process.user.additional_gids = user.groups;
  process.args = exec.cmd;
  const std::string hostname =
      definition.config.hostname.empty() ? definition.id.substr(0, 12) : definition.config.hostname;
  std::vector<std::string> env = environment(definition, hostname, user.home, link_env);
  if (exec.tty) env = override_environment({"TERM=xterm"}, env);
  process.env = override_environment(std::move(env), exec.env);
  process.cwd = exec.working_dir.empty() ? definition.config.working_dir : exec.working_dir;
  if (process.cwd.empty()) process.cwd = "/";
  const sys::CapabilityMask capabilities = TRY(capability_mask(host, host.privileged || exec.privileged));
  process.capabilities = to_capabilities(capabilities, user.uid);
  process.rlimits = rlimits(host);
  process.no_new_privileges = no_new_privileges(host, settings);
  if (host.oom_score_adj != 0) process.oom_score_adj = host.oom_score_adj;
  return process;
}

}  // namespace corten::engine
