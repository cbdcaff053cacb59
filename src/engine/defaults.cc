#include "engine/defaults.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <csignal>

#include "engine/limits.h"
#include "oci/image.h"
#include "shimproto/log_options.h"
#include "sys/capability.h"

namespace corten::engine {
namespace {

using spec::ContainerConfig;
using spec::HostConfig;

std::string_view variable_name(std::string_view assignment) { return assignment.substr(0, assignment.find('=')); }

void merge_environment(spec::Strings& env, const std::vector<std::string>& image_env) {
  spec::Strings merged;
  for (const std::string& theirs : image_env) {
    const auto same = [&](const std::string& ours) { return variable_name(ours) == variable_name(theirs); };
    if (std::ranges::none_of(env, same)) merged.push_back(theirs);
  }
  // Docker puts the image's variables behind the user's; programs see the same set either way.
  env.insert(env.end(), merged.begin(), merged.end());
}

void merge_health(std::optional<spec::HealthConfig>& ours, const std::optional<oci::Healthcheck>& theirs) {
  if (!theirs) return;
  if (!ours) ours.emplace();
  if (ours->test.empty()) ours->test = theirs->test;
  if (ours->interval.count() == 0) ours->interval = theirs->interval;
  if (ours->timeout.count() == 0) ours->timeout = theirs->timeout;
  if (ours->start_period.count() == 0) ours->start_period = theirs->start_period;
  if (ours->start_interval.count() == 0) ours->start_interval = theirs->start_interval;
  if (ours->retries == 0) ours->retries = theirs->retries;
}

Result<> check_hostname(std::string_view name) {
  if (name.size() > 64) return fail(ErrorKind::invalid, "invalid hostname \"{}\": longer than 64 bytes", name);
  const auto allowed = [](unsigned char c) { return std::isalnum(c) != 0 || c == '-' || c == '.' || c == '_'; };
  if (!std::ranges::all_of(name, allowed) || name.starts_with('-'))
    return fail(ErrorKind::invalid, "invalid hostname \"{}\": want letters, digits, '-', '.' and '_'", name);
  return {};
}

Result<> check_environment(const spec::Strings& env) {
  for (const std::string& assignment : env) {
    if (assignment.empty() || assignment[0] == '=')
      return fail(ErrorKind::invalid, "invalid environment variable: {}", assignment);
    if (assignment.find('\0') != std::string::npos)
      return fail(ErrorKind::invalid, "invalid environment variable {}: has a NUL byte", variable_name(assignment));
  }
  return {};
}

Result<> check_health(const spec::HealthConfig& health) {
  using namespace std::chrono_literals;
  const auto check = [](std::chrono::nanoseconds value, std::string_view name) -> Result<> {
    if (value.count() != 0 && value < 1ms)
      return fail(ErrorKind::invalid, "{} in Healthcheck cannot be less than 1ms", name);
    return {};
  };
  CHECK(check(health.interval, "Interval"));
  CHECK(check(health.timeout, "Timeout"));
  CHECK(check(health.start_period, "StartPeriod"));
  CHECK(check(health.start_interval, "StartInterval"));
  if (health.retries < 0) return fail(ErrorKind::invalid, "Retries in Healthcheck cannot be negative");
  if (health.test.empty()) return {};
  const std::string& form = health.test[0];
  if (form != "NONE" && form != "CMD" && form != "CMD-SHELL")
    return fail(ErrorKind::invalid, "unknown health check type \"{}\": want NONE, CMD or CMD-SHELL", form);
  if (form != "NONE" && health.test.size() < 2) return fail(ErrorKind::invalid, "health check {} has no command", form);
  return {};
}

Result<> check_restart_policy(const spec::RestartPolicy& policy, bool auto_remove) {
  static constexpr std::array<std::string_view, 5> names{"", "no", "always", "unless-stopped", "on-failure"};
  if (std::ranges::find(names, policy.name) == names.end())
    return fail(
        ErrorKind::invalid,
        "invalid restart policy: unknown policy '{}'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'",
        policy.name);
  if (policy.maximum_retry_count != 0 && policy.name != "on-failure")
    return fail(ErrorKind::invalid, "invalid restart policy: maximum retry count can only be used with 'on-failure'");
  if (policy.maximum_retry_count < 0)
    return fail(ErrorKind::invalid, "invalid restart policy: maximum retry count cannot be negative");
  if (auto_remove && !policy.name.empty() && policy.name != "no")
    return fail(ErrorKind::invalid, "can't create 'AutoRemove' container with restart policy");
  return {};
}

// Which forms a namespace mode has; all know "" and most know "host" and "container:".
struct ModeRule {
  std::string_view field;
  std::string_view value;
  std::vector<std::string_view> words;
  bool container;
};

Result<> check_mode(const ModeRule& rule) {
  if (rule.value.empty() || std::ranges::find(rule.words, rule.value) != rule.words.end()) return {};
  if (rule.container && rule.value.starts_with("container:")) {
    if (rule.value == "container:")
      return fail(ErrorKind::invalid, "invalid {} mode: {}: the container's name is missing", rule.field, rule.value);
    return {};
  }
  return fail(ErrorKind::invalid, "invalid {} mode: {}", rule.field, rule.value);
}

Result<> check_modes(const HostConfig& host) {
  CHECK(check_mode({"PID", host.pid_mode, {"host", "private"}, true}));
  CHECK(check_mode({"IPC", host.ipc_mode, {"none", "host", "private", "shareable"}, true}));
  CHECK(check_mode({"UTS", host.uts_mode, {"host", "private"}, true}));
  CHECK(check_mode({"cgroup namespace", host.cgroupns_mode, {"host", "private"}, true}));
  CHECK(check_mode({"USER", host.userns_mode, {"host", "private"}, false}));
  return {};
}

Result<> check_network(const ContainerConfig& config, const HostConfig& host) {
  const std::string& mode = host.network_mode;
  const bool shared = mode == "host" || mode.starts_with("container:");
  if (mode == "container:") return fail(ErrorKind::invalid, "invalid container format container:<name|id>");
  if (mode.starts_with("container:")) {
    if (!config.hostname.empty()) return fail(ErrorKind::invalid, "conflicting options: hostname and the network mode");
    if (!host.dns.empty()) return fail(ErrorKind::invalid, "conflicting options: dns and the network mode");
    if (!host.extra_hosts.empty())
      return fail(ErrorKind::invalid, "conflicting options: custom host-to-IP mapping and the network mode");
    if (!host.port_bindings.empty() || host.publish_all_ports)
      return fail(ErrorKind::invalid, "conflicting options: port publishing and the container type network mode");
  }
  if (host.uts_mode == "host" && !config.hostname.empty() && mode != "host")
    return fail(ErrorKind::invalid, "conflicting options: hostname and the UTS mode");
  if (shared && !host.links.empty())
    return fail(ErrorKind::invalid, "conflicting options: {} type networking can't be used with links",
                mode == "host" ? "host" : "container");
  return {};
}

Result<> check_sysctls(const HostConfig& host) {
  static constexpr std::array<std::string_view, 10> ipc{
      "kernel.msgmax", "kernel.msgmnb", "kernel.msgmni",          "kernel.sem", "kernel.shmall",
      "kernel.shmmax", "kernel.shmmni", "kernel.shm_rmid_forced", "",           ""};
  for (const auto& [name, value] : host.sysctls) {
    const bool of_ipc = (!name.empty() && std::ranges::find(ipc, name) != ipc.end()) || name.starts_with("fs.mqueue.");
    const bool of_network = name.starts_with("net.");
    if (name.find('/') != std::string::npos || name.find("..") != std::string::npos || (!of_ipc && !of_network))
      return fail(ErrorKind::invalid, "sysctl '{}={}' is not allowed: it belongs to no namespace of the container",
                  name, value);
    if (of_network && (host.network_mode == "host" || host.network_mode.starts_with("container:")))
      return fail(ErrorKind::invalid, "sysctl '{}' not allowed in {} network namespace", name, "host or shared");
    if (of_ipc && (host.ipc_mode == "host" || host.ipc_mode.starts_with("container:")))
      return fail(ErrorKind::invalid, "sysctl '{}' not allowed in host or shared ipc namespace", name);
  }
  return {};
}

Result<> check_security(const HostConfig& host) {
  for (const std::string& option : host.security_opt) {
    const std::size_t split = option.find_first_of("=:");
    const std::string key = option.substr(0, split);
    const std::string value = split == std::string::npos ? "" : option.substr(split + 1);
    if (key == "no-new-privileges") {
      if (!value.empty() && value != "true" && value != "false")
        return fail(ErrorKind::invalid, "invalid --security-opt: \"{}\": want true or false", option);
    } else if (key == "seccomp" || key == "writable-cgroups") {
      if (value.empty()) return fail(ErrorKind::invalid, "invalid --security-opt: \"{}\"", option);
    } else if (key == "apparmor" || key == "label") {
      const bool off = value == "unconfined" || value == "disable";
      if (!off)
        return fail(ErrorKind::not_implemented, "--security-opt {}: this host's kernel does not have {}", option,
                    key == "label" ? "SELinux" : "AppArmor");
    } else if (option != "systempaths=unconfined") {
      return fail(ErrorKind::invalid, "invalid --security-opt: \"{}\"", option);
    }
  }
  for (const spec::Strings* list : {&host.cap_add, &host.cap_drop})
    for (const std::string& name : *list) {
      std::string upper = name;
      std::ranges::transform(upper, upper.begin(), [](unsigned char c) { return std::toupper(c); });
      if (upper != "ALL" && !sys::capability_from_name(upper))
        return fail(ErrorKind::invalid, "invalid capability: \"{}\"", name);
    }
  if (!host.device_requests.empty())
    return fail(ErrorKind::invalid, "could not select device driver \"{}\" with capabilities: [[{}]]",
                host.device_requests[0].driver,
                host.device_requests[0].capabilities.empty()
                    ? std::string("gpu")
                    : fmt::format("{}", fmt::join(host.device_requests[0].capabilities[0], " ")));
  return {};
}

// Accepts repeated and mixed forms as Docker stores them: "SYS_ADMIN", "cap_sys_admin" become "CAP_SYS_ADMIN".
void normalise_capabilities(spec::Strings& names) {
  for (std::string& name : names) {
    std::ranges::transform(name, name.begin(), [](unsigned char c) { return std::toupper(c); });
    if (name != "ALL" && !name.starts_with("CAP_")) name.insert(0, "CAP_");
  }
  std::ranges::sort(names);
  names.erase(std::unique(names.begin(), names.end()), names.end());
}

void fill_defaults(HostConfig& host, const Settings& settings) {
  if (host.network_mode.empty() || host.network_mode == "default") host.network_mode = "bridge";
  if (host.ipc_mode.empty()) host.ipc_mode = settings.default_ipc_mode;
  if (host.cgroupns_mode.empty()) host.cgroupns_mode = host.privileged ? "host" : settings.default_cgroupns_mode;
  if (host.shm_size == 0) host.shm_size = settings.default_shm_size;
  if (host.restart_policy.name.empty()) host.restart_policy.name = "no";
  if (host.runtime.empty()) host.runtime = "corten";
  if (host.log_config.type.empty()) {
    host.log_config.type = settings.default_log_config.type;
    if (host.log_config.config.empty()) host.log_config.config = settings.default_log_config.config;
  } else if (host.log_config.type == settings.default_log_config.type) {
    for (const auto& [key, value] : settings.default_log_config.config) host.log_config.config.try_emplace(key, value);
  }
  for (const spec::Ulimit& limit : settings.default_ulimits) {
    const auto same = [&](const spec::Ulimit& ours) { return ours.name == limit.name; };
    if (std::ranges::none_of(host.ulimits, same)) host.ulimits.push_back(limit);
  }
  const auto says = [&](std::string_view what) {
    return std::ranges::find(host.security_opt, what) != host.security_opt.end();
  };
  const bool all_paths = host.privileged || says("systempaths=unconfined");
  if (all_paths) {
    if (!host.masked_paths) host.masked_paths.emplace();
    if (!host.readonly_paths) host.readonly_paths.emplace();
  }
  if (!host.masked_paths)
    host.masked_paths = spec::Strings{"/proc/acpi",
                                      "/proc/asound",
                                      "/proc/interrupts",
                                      "/proc/kcore",
                                      "/proc/keys",
                                      "/proc/latency_stats",
                                      "/proc/sched_debug",
                                      "/proc/scsi",
                                      "/proc/timer_list",
                                      "/proc/timer_stats",
                                      "/sys/devices/virtual/powercap",
                                      "/sys/firmware"};
  if (!host.readonly_paths)
    host.readonly_paths = spec::Strings{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"};
  if (host.console_size.empty()) host.console_size = {0, 0};
}

}  // namespace

void merge_image_config(ContainerConfig& config, const oci::ImageConfig& image) {
  const oci::RunConfig& theirs = image.config;
  if (config.user.empty()) config.user = theirs.user;
  for (const auto& [port, nothing] : theirs.exposed_ports) config.exposed_ports.try_emplace(port, nothing);
  merge_environment(config.env, theirs.env);
  for (const auto& [name, value] : theirs.labels) config.labels.try_emplace(name, value);
  const bool has_entrypoint = config.entrypoint && !config.entrypoint->args.empty();
  if (!has_entrypoint) {
    if ((!config.cmd || config.cmd->args.empty()) && !config.entrypoint && theirs.cmd)
      config.cmd = spec::Command{*theirs.cmd};
    // An explicit empty entrypoint ("") erases the image's.
    if (!config.entrypoint && theirs.entrypoint) config.entrypoint = spec::Command{*theirs.entrypoint};
  }
  if (config.entrypoint && (config.entrypoint->args.empty() || config.entrypoint->args == spec::Strings{""})) {
    config.entrypoint.reset();
    if ((!config.cmd || config.cmd->args.empty()) && theirs.cmd && !has_entrypoint) config.cmd.reset();
  }
  merge_health(config.healthcheck, theirs.healthcheck);
  if (config.working_dir.empty()) config.working_dir = theirs.working_dir;
  for (const auto& [path, nothing] : theirs.volumes) config.volumes.try_emplace(path, nothing);
  if (config.stop_signal.empty()) config.stop_signal = theirs.stop_signal;
  if (!config.stop_timeout) config.stop_timeout = theirs.stop_timeout;
  if (!config.shell && !theirs.shell.empty()) config.shell = spec::Command{theirs.shell};
  if (config.on_build.empty()) config.on_build = theirs.on_build;
}

Result<std::vector<std::string>> complete(ContainerConfig& config, HostConfig& host, const Settings& settings,
                                          const HostFeatures& features) {
  std::vector<std::string> warnings;
  CHECK(check_hostname(config.hostname));
  CHECK(check_environment(config.env));
  if (config.healthcheck) CHECK(check_health(*config.healthcheck));
  if (!config.stop_signal.empty()) CHECK(parse_signal(config.stop_signal));
  if (config.stop_timeout && *config.stop_timeout < -1)
    return fail(ErrorKind::invalid, "invalid stop timeout {}: want seconds, or -1 for no limit", *config.stop_timeout);
  if (!config.working_dir.empty() && config.working_dir[0] != '/')
    return fail(ErrorKind::invalid, "the working directory '{}' is invalid, it needs to be an absolute path",
                config.working_dir);

  CHECK(check_modes(host));
  CHECK(check_network(config, host));
  CHECK(check_restart_policy(host.restart_policy, host.auto_remove));
  CHECK(check_sysctls(host));
  CHECK(check_security(host));
  if (!host.storage_opt.empty())
    return fail(ErrorKind::not_implemented,
                "--storage-opt is not supported: the data root has no project quotas in use");
  if (!host.runtime.empty() && host.runtime != "corten" && host.runtime != "runc" &&
      host.runtime != "io.containerd.runc.v2")
    return fail(ErrorKind::invalid, "unknown or invalid runtime name: {}", host.runtime);
  if (!host.isolation.empty() && host.isolation != "default")
    return fail(ErrorKind::invalid, "invalid isolation '{}' on linux", host.isolation);
  if (host.shm_size < 0) return fail(ErrorKind::invalid, "SHM size can not be less than 0");

  normalise_capabilities(host.cap_add);
  normalise_capabilities(host.cap_drop);
  fill_defaults(host, settings);
  CHECK(shimproto::validate_log_options(host.log_config.type, host.log_config.config));
  CHECK(complete_limits(host, features, warnings));
  if ((host.network_mode == "host" || host.network_mode.starts_with("container:") || host.network_mode == "none") &&
      (!host.port_bindings.empty() || host.publish_all_ports) && host.network_mode == "host")
    warnings.emplace_back("Published ports are discarded when using host network mode");
  return warnings;
}

Result<std::vector<std::string>> command_line(const ContainerConfig& config) {
  std::vector<std::string> line;
  if (config.entrypoint) line = config.entrypoint->args;
  if (config.cmd) line.insert(line.end(), config.cmd->args.begin(), config.cmd->args.end());
  if (line.empty() || (line.size() == 1 && line[0].empty())) return fail(ErrorKind::invalid, "no command specified");
  return line;
}

}  // namespace corten::engine
