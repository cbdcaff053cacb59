#include "cli/run_options.h"

#include <cstdlib>
#include <set>

#include "cli/files.h"
#include "cli/mount_options.h"
#include "cli/network_options.h"
#include "cli/resource_options.h"
#include "gotemplate/value.h"
#include "oci/reference.h"

namespace corten::cli {
namespace {

constexpr std::size_t max_options_file = 4 << 20;

std::string trimmed_left(std::string_view text) {
  const auto from = text.find_first_not_of(" \t\r\v\f");
  return from == std::string_view::npos ? std::string() : std::string(text.substr(from));
}

// KEY=value lines; '#' starts a comment. Names without "=" are looked up with `lookup`.
Result<std::vector<std::string>> read_pairs_file(const std::string& path, bool lookup) {
  std::string text = TRY(read_file(path, max_options_file));
  if (text.starts_with("\xef\xbb\xbf")) text.erase(0, 3);
  std::vector<std::string> out;
  std::size_t at = 0;
  while (at < text.size()) {
    const auto end = std::min(text.find('\n', at), text.size());
    std::string line = trimmed_left(std::string_view(text).substr(at, end - at));
    at = end + 1;
    if (line.ends_with('\r')) line.pop_back();
    if (line.empty() || line.starts_with('#')) continue;
    const auto equals = line.find('=');
    const std::string name = line.substr(0, equals);
    if (name.find_first_of(" \t") != std::string::npos) {
      return fail(ErrorKind::invalid, "invalid env file ({}): variable '{}' contains whitespaces", path, name);
    }
    if (name.empty())
      return fail(ErrorKind::invalid, "invalid env file ({}): no variable name on line '{}'", path, line);
    if (equals != std::string::npos) {
      out.push_back(line);
    } else if (!lookup) {
      out.push_back(line);
    } else if (const char* value = std::getenv(name.c_str())) {
      out.push_back(name + "=" + value);
    }
  }
  return out;
}

Result<> check_modes(const FlagValues& flags) {
  const std::string pid = flags.string("pid");
  if (!pid.empty() && pid != "host" && !(pid.starts_with("container:") && pid.size() > 10)) {
    return fail(ErrorKind::invalid, "--pid: invalid PID mode");
  }
  const std::string uts = flags.string("uts");
  if (!uts.empty() && uts != "host") return fail(ErrorKind::invalid, "--uts: invalid UTS mode");
  const std::string userns = flags.string("userns");
  if (!userns.empty() && userns != "host") return fail(ErrorKind::invalid, "--userns: invalid USER mode");
  const std::string cgroupns = flags.string("cgroupns");
  if (!cgroupns.empty() && cgroupns != "host" && cgroupns != "private")
    return fail(ErrorKind::invalid, "--cgroupns: invalid CGROUP mode");
  return {};
}

Result<> refuse_unsupported(const FlagValues& flags) {
  if (flags.boolean("use-api-socket")) {
    return fail(ErrorKind::not_implemented,
                "--use-api-socket is not supported: mount the daemon's socket with -v instead");
  }
  if (flags.changed("disable-content-trust") && !flags.boolean("disable-content-trust")) {
    return fail(ErrorKind::not_implemented,
                "--disable-content-trust=false is not supported: images are not verified by signature");
  }
  if (flags.changed("gpus"))
    return fail(ErrorKind::not_implemented, "--gpus is not supported: pass the devices with --device instead");
  return {};
}

Result<> read_security(const FlagValues& flags, spec::HostConfig& host) {
  for (const auto& option : flags.list("security-opt")) {
    if (option == "no-new-privileges") {
      host.security_opt.push_back(option);
      continue;
    }
    auto mark = option.find('=');
    if (mark == std::string::npos) mark = option.find(':');
    if (mark == std::string::npos)
      return fail(ErrorKind::invalid, "Invalid --security-opt: {}", gotemplate::quote(option));
    const std::string name = option.substr(0, mark);
    const std::string value = option.substr(mark + 1);
    if (name == "systempaths" && value == "unconfined") {
      host.masked_paths.emplace();
      host.readonly_paths.emplace();
      continue;
    }
    if (name == "seccomp" && value != "unconfined" && value != "builtin") {
      auto profile = read_file(value, max_options_file);
      if (!profile)
        return fail(ErrorKind::invalid, "opening seccomp profile ({}) failed: {}", value, profile.error().text());
      auto parsed = json::parse(*profile);
      if (!parsed)
        return fail(ErrorKind::invalid, "compacting json for seccomp profile ({}) failed: {}", value,
                    parsed.error().text());
      host.security_opt.push_back("seccomp=" + json::write(*parsed));
      continue;
    }
    host.security_opt.push_back(fmt::format("{}={}", name, value));
  }
  return {};
}

Result<> read_health(const FlagValues& flags, spec::ContainerConfig& config) {
  static constexpr const char* durations[] = {"health-interval", "health-timeout", "health-start-period",
                                              "health-start-interval"};
  bool any = flags.changed("health-cmd") || flags.integer("health-retries") != 0;
  for (const char* name : durations) any = any || flags.duration(name).count() != 0;
  if (flags.boolean("no-healthcheck")) {
    if (any) return fail(ErrorKind::invalid, "--no-healthcheck conflicts with --health-* options");
    config.healthcheck.emplace().test = {"NONE"};
    return {};
  }
  if (!any) return {};
  for (const char* name : durations) {
    if (flags.duration(name).count() < 0) return fail(ErrorKind::invalid, "--{} cannot be negative", name);
  }
  if (flags.integer("health-retries") < 0) return fail(ErrorKind::invalid, "--health-retries cannot be negative");
  auto& health = config.healthcheck.emplace();
  if (const std::string command = flags.string("health-cmd"); !command.empty()) health.test = {"CMD-SHELL", command};
  health.interval = flags.duration("health-interval");
  health.timeout = flags.duration("health-timeout");
  health.start_period = flags.duration("health-start-period");
  health.start_interval = flags.duration("health-start-interval");
  health.retries = static_cast<int>(std::min<std::int64_t>(flags.integer("health-retries"), INT32_MAX));
  return {};
}

Result<> read_streams(const FlagValues& flags, spec::ContainerConfig& config) {
  for (std::string stream : flags.list("attach")) {
    for (char& c : stream) c = static_cast<char>(c | 32);
    if (stream == "stdin") config.attach_stdin = true;
    if (stream == "stdout") config.attach_stdout = true;
    if (stream == "stderr") config.attach_stderr = true;
  }
  config.tty = flags.boolean("tty");
  config.open_stdin = flags.boolean("interactive");
  if (config.open_stdin) config.attach_stdin = true;
  if (flags.list("attach").empty()) config.attach_stdout = config.attach_stderr = true;
  // The container's stdin ends with its only attached client.
  if (config.open_stdin && config.attach_stdin) config.stdin_once = true;
  return {};
}

Result<> read_process(const FlagValues& flags, std::span<const std::string> arguments, spec::ContainerConfig& config) {
  config.image = arguments[0];
  if (auto reference = oci::parse_reference(config.image); !reference)
    return std::unexpected(std::move(reference).error());
  if (arguments.size() > 1) config.cmd.emplace().args.assign(arguments.begin() + 1, arguments.end());
  if (const std::string entrypoint = flags.string("entrypoint"); !entrypoint.empty()) {
    config.entrypoint.emplace().args = {entrypoint};
  } else if (flags.changed("entrypoint")) {
    config.entrypoint.emplace().args = {""};
  }
  config.hostname = flags.string("hostname");
  config.domainname = flags.string("domainname");
  config.user = flags.string("user");
  config.working_dir = flags.string("workdir");
  config.env = TRY(read_environment(flags.list("env-file"), flags.list("env")));
  config.labels = TRY(read_labels(flags.list("label-file"), flags.list("label")));
  config.stop_signal = flags.string("stop-signal");
  if (flags.changed("stop-timeout")) config.stop_timeout = static_cast<int>(flags.integer("stop-timeout"));
  CHECK(read_streams(flags, config));
  return read_health(flags, config);
}

Result<> read_devices(const FlagValues& flags, spec::HostConfig& host) {
  for (const auto& text : flags.list("device")) host.devices.push_back(TRY(parse_device(text)));
  for (const auto& text : flags.list("blkio-weight-device"))
    host.blkio_weight_device.push_back(TRY(parse_weight_device(text)));
  const auto throttles = [&](const char* name, bool bytes, std::vector<spec::ThrottleDevice>& out) -> Result<> {
    for (const auto& text : flags.list(name)) out.push_back(TRY(parse_throttle(text, bytes)));
    return {};
  };
  CHECK(throttles("device-read-bps", true, host.blkio_device_read_bps));
  CHECK(throttles("device-write-bps", true, host.blkio_device_write_bps));
  CHECK(throttles("device-read-iops", false, host.blkio_device_read_iops));
  CHECK(throttles("device-write-iops", false, host.blkio_device_write_iops));
  host.device_cgroup_rules = flags.list("device-cgroup-rule");
  return {};
}

Result<> read_resources(const FlagValues& flags, spec::HostConfig& host) {
  CHECK(read_limits(flags, host));
  host.cgroup_parent = flags.string("cgroup-parent");
  const std::int64_t swappiness = flags.integer("memory-swappiness");
  if (swappiness != -1 && (swappiness < 0 || swappiness > 100)) {
    return fail(ErrorKind::invalid, "invalid value: {}. Valid memory swappiness range is 0-100", swappiness);
  }
  if (swappiness != -1) host.memory_swappiness = swappiness;
  if (flags.changed("oom-kill-disable")) host.oom_kill_disable = flags.boolean("oom-kill-disable");
  host.oom_score_adj = static_cast<int>(std::clamp<std::int64_t>(flags.integer("oom-score-adj"), INT32_MIN, INT32_MAX));
  if (flags.changed("kernel-memory")) host.kernel_memory = flags.bytes("kernel-memory");
  if (flags.changed("shm-size")) host.shm_size = flags.bytes("shm-size");
  host.cpu_count = flags.integer("cpu-count");
  host.cpu_percent = flags.integer("cpu-percent");
  host.io_maximum_iops = static_cast<std::uint64_t>(flags.integer("io-maxiops"));
  if (flags.changed("io-maxbandwidth"))
    host.io_maximum_bandwidth = static_cast<std::uint64_t>(flags.bytes("io-maxbandwidth"));
  // A later --ulimit of the same name replaces the earlier one.
  std::map<std::string, spec::Ulimit> ulimits;
  for (const auto& text : flags.list("ulimit")) {
    spec::Ulimit limit = TRY(parse_ulimit(text));
    ulimits[limit.name] = limit;
  }
  for (auto& [name, limit] : ulimits) host.ulimits.push_back(std::move(limit));
  return read_devices(flags, host);
}

Result<> read_files(const FlagValues& flags, spec::ContainerConfig& config, spec::HostConfig& host) {
  CHECK(read_volumes(flags.list("volume"), host.binds, config.volumes));
  for (const auto& text : flags.list("mount")) host.mounts.push_back(TRY(parse_mount(text)));
  for (const auto& text : flags.list("tmpfs")) {
    const auto colon = text.find(':');
    host.tmpfs[text.substr(0, colon)] = colon == std::string::npos ? "" : text.substr(colon + 1);
  }
  host.volume_driver = flags.string("volume-driver");
  host.volumes_from = flags.list("volumes-from");
  host.readonly_rootfs = flags.boolean("read-only");
  for (const auto& option : flags.list("storage-opt")) {
    if (option.find('=') == std::string::npos) return fail(ErrorKind::invalid, "invalid storage option");
  }
  host.storage_opt = pairs(flags.list("storage-opt"));
  return {};
}

Result<> read_network(const FlagValues& flags, CreateRequest& request) {
  auto& host = request.host;
  CHECK(read_published_ports(flags.list("publish"), request.config.exposed_ports, host.port_bindings));
  CHECK(read_exposed_ports(flags.list("expose"), request.config.exposed_ports));
  host.publish_all_ports = flags.boolean("publish-all");
  host.dns = flags.list("dns");
  host.dns_options = flags.list("dns-option");
  for (const auto& option : flags.list("dns-opt")) host.dns_options.push_back(option);
  host.dns_search = flags.list("dns-search");
  host.links = flags.list("link");
  host.extra_hosts = extra_hosts(flags.list("add-host"));
  return read_networks(flags, host.network_mode, request.networking);
}

std::set<std::string> capability_names(const std::vector<std::string>& given) {
  std::set<std::string> names;
  for (std::string name : given) {
    std::erase_if(name, [](char c) { return c == ' ' || c == '\t'; });
    for (char& c : name) c = static_cast<char>(c >= 'a' && c <= 'z' ? c - 32 : c);
    if (name != "ALL" && name != "RESET" && !name.starts_with("CAP_")) name.insert(0, "CAP_");
    names.insert(std::move(name));
  }
  if (names.contains("ALL")) return {"ALL"};
  return names;
}

// What is added is not dropped.
void read_capabilities(const FlagValues& flags, spec::HostConfig& host) {
  const auto added = capability_names(flags.list("cap-add"));
  host.cap_add.assign(added.begin(), added.end());
  for (const auto& name : capability_names(flags.list("cap-drop"))) {
    if (!added.contains(name)) host.cap_drop.push_back(name);
  }
}

Result<> read_rest(const FlagValues& flags, spec::HostConfig& host) {
  host.container_id_file = flags.string("cidfile");
  host.log_config.type = flags.string("log-driver");
  if (host.log_config.type == "none" && !flags.list("log-opt").empty()) {
    return fail(ErrorKind::invalid, "invalid logging opts for driver none");
  }
  host.log_config.config = pairs(flags.list("log-opt"));
  host.restart_policy = TRY(parse_restart_policy(flags.string("restart")));
  host.auto_remove = flags.boolean("rm");
  if (host.auto_remove && !host.restart_policy.name.empty() && host.restart_policy.name != "no") {
    return fail(ErrorKind::invalid, "conflicting options: cannot specify both --restart and --rm");
  }
  host.annotations = pairs(flags.list("annotation"));
  read_capabilities(flags, host);
  host.cgroupns_mode = flags.string("cgroupns");
  host.group_add = flags.list("group-add");
  host.ipc_mode = flags.string("ipc");
  host.pid_mode = flags.string("pid");
  host.uts_mode = flags.string("uts");
  host.userns_mode = flags.string("userns");
  host.privileged = flags.boolean("privileged");
  host.sysctls = pairs(flags.list("sysctl"));
  host.runtime = flags.string("runtime");
  host.isolation = flags.string("isolation");
  if (flags.changed("init")) host.init = flags.boolean("init");
  return read_security(flags, host);
}

}  // namespace

spec::Labels pairs(const std::vector<std::string>& given) {
  spec::Labels out;
  for (const auto& text : given) {
    const auto equals = text.find('=');
    out[text.substr(0, equals)] = equals == std::string::npos ? "" : text.substr(equals + 1);
  }
  return out;
}

Result<std::vector<std::string>> read_environment(const std::vector<std::string>& files,
                                                  const std::vector<std::string>& given) {
  std::vector<std::string> out;
  for (const auto& file : files) {
    for (auto& line : TRY(read_pairs_file(file, true))) out.push_back(std::move(line));
  }
  for (const auto& text : given) {
    const char* value = text.find('=') == std::string::npos ? std::getenv(text.c_str()) : nullptr;
    out.push_back(value == nullptr ? text : text + "=" + value);
  }
  return out;
}

Result<spec::Labels> read_labels(const std::vector<std::string>& files, const std::vector<std::string>& given) {
  std::vector<std::string> all;
  for (const auto& file : files) {
    for (auto& line : TRY(read_pairs_file(file, false))) all.push_back(std::move(line));
  }
  all.insert(all.end(), given.begin(), given.end());
  return pairs(all);
}

json::Value CreateRequest::to_json() const {
  json::Value body = json::to_json(config);
  body.get_object()["HostConfig"] = json::to_json(host);
  body.get_object()["NetworkingConfig"] = json::to_json(networking);
  return body;
}

Result<CreateRequest> read_create_request(const FlagValues& flags, std::span<const std::string> arguments) {
  CreateRequest request;
  CHECK(refuse_unsupported(flags));
  CHECK(check_modes(flags));
  CHECK(read_resources(flags, request.host));
  CHECK(read_files(flags, request.config, request.host));
  CHECK(read_network(flags, request));
  CHECK(read_rest(flags, request.host));
  CHECK(read_process(flags, arguments, request.config));
  if (!request.host.mounts.empty() && !request.host.volume_driver.empty()) {
    request.warnings.emplace_back(
        "`--volume-driver` is ignored for volumes specified via `--mount`. Use "
        "`--mount type=volume,volume-driver=...` instead");
  }
  return request;
}

}  // namespace corten::cli
