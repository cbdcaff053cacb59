#include "daemon/options.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <map>

#include "base/time.h"

namespace corten::daemon {
namespace {

constexpr std::chrono::hours no_hurry{24 * 365};  // what a negative time-out stands for

Result<bool> parse_flag(const std::string& value) {
  if (value == "true" || value == "1") return true;
  if (value == "false" || value == "0") return false;
  return fail(ErrorKind::invalid, "\"{}\" is neither true nor false", value);
}

template <class Number>
Result<Number> parse_number(const std::string& value) {
  Number number{};
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
  if (error != std::errc() || end != value.data() + value.size())
    return fail(ErrorKind::invalid, "\"{}\" is not a number", value);
  return number;
}

// "64M", "1g", "4096"
Result<std::int64_t> parse_bytes(const std::string& value) {
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
  std::string unit(end, value.data() + value.size());
  std::ranges::transform(unit, unit.begin(), [](unsigned char c) { return std::tolower(c); });
  if (unit.size() > 1 && unit.ends_with('b')) unit.pop_back();
  const std::map<std::string, int> shifts{{"", 0}, {"b", 0}, {"k", 10}, {"m", 20}, {"g", 30}, {"t", 40}};
  const auto shift = shifts.find(unit);
  if (error != std::errc() || shift == shifts.end() || number < 0 || number > (std::int64_t{1} << 20))
    if (error != std::errc() || shift == shifts.end() || number < 0 || shift->second != 0)
      return fail(ErrorKind::invalid, "\"{}\" is not a size", value);
  return number << shift->second;
}

Option text(std::string_view name, std::string Config::* member, std::string_view help, char letter = 0) {
  return {name, name, letter, Kind::text, help, [member](Config& config, const std::string& value) -> Result<> {
            config.*member = value;
            return {};
          }};
}

Option flag(std::string_view name, bool Config::* member, std::string_view help, char letter = 0) {
  return {name, name, letter, Kind::flag, help, [member](Config& config, const std::string& value) -> Result<> {
            config.*member = TRY(parse_flag(value));
            return {};
          }};
}

Option count(std::string_view name, int Config::* member, std::string_view help) {
  return {name, name, 0, Kind::text, help, [member](Config& config, const std::string& value) -> Result<> {
            config.*member = TRY(parse_number<int>(value));
            if (config.*member < 1) return fail(ErrorKind::invalid, "{} is not a positive number", value);
            return {};
          }};
}

Option engine_text(std::string_view name, std::string engine::Settings::* member, std::string_view help) {
  return {name, name, 0, Kind::text, help, [member](Config& config, const std::string& value) -> Result<> {
            config.engine.*member = value;
            return {};
          }};
}

Option engine_flag(std::string_view name, bool engine::Settings::* member, std::string_view help) {
  return {name, name, 0, Kind::flag, help, [member](Config& config, const std::string& value) -> Result<> {
            config.engine.*member = TRY(parse_flag(value));
            return {};
          }};
}

Option list(std::string_view name, std::string_view key, std::vector<std::string> Config::* member,
            std::string_view help, char letter = 0) {
  return {name, key, letter, Kind::list, help, [member](Config& config, const std::string& value) -> Result<> {
            (config.*member).push_back(value);
            return {};
          }};
}

Option engine_list(std::string_view name, std::string_view key, std::vector<std::string> engine::Settings::* member,
                   std::string_view help) {
  return {name, key, 0, Kind::list, help, [member](Config& config, const std::string& value) -> Result<> {
            (config.engine.*member).push_back(value);
            return {};
          }};
}

// "nofile=1024:2048" or, from the file, name, soft and hard joined the same way.
Result<> add_ulimit(Config& config, const std::string& value) {
  const std::size_t equals = value.find('=');
  const std::size_t colon = value.find(':', equals);
  if (equals == std::string::npos)
    return fail(ErrorKind::invalid, "invalid ulimit \"{}\": want NAME=SOFT[:HARD]", value);
  spec::Ulimit limit;
  limit.name = value.substr(0, equals);
  limit.soft = TRY(
      parse_number<std::int64_t>(value.substr(equals + 1, colon == std::string::npos ? colon : colon - equals - 1)));
  limit.hard = colon == std::string::npos ? limit.soft : TRY(parse_number<std::int64_t>(value.substr(colon + 1)));
  config.engine.default_ulimits.push_back(limit);
  return {};
}

// "base=10.10.0.0/16,size=24": that prefix cut into networks of that size.
Result<> add_address_pool(Config& config, const std::string& value) {
  std::string base;
  unsigned size = 0;
  std::string_view rest = value;
  while (!rest.empty()) {
    const std::string_view part = rest.substr(0, rest.find(','));
    rest.remove_prefix(std::min(rest.size(), part.size() + 1));
    if (part.starts_with("base=")) {
      base = part.substr(5);
    } else if (part.starts_with("size=")) {
      size = TRY(parse_number<unsigned>(std::string(part.substr(5))));
    } else {
      return fail(ErrorKind::invalid, "invalid address pool \"{}\": want base=PREFIX,size=BITS", value);
    }
  }
  const network::Ipv4Prefix whole = TRY(network::parse_ipv4_prefix(base));
  if (size < whole.length || size > 30)
    return fail(ErrorKind::invalid, "invalid address pool \"{}\": size must be {}..30", value, whole.length);
  const std::uint64_t count = std::uint64_t{1} << (size - whole.length);
  constexpr std::uint64_t enough = 4096;
  for (std::uint64_t i = 0; i < std::min(count, enough); ++i)
    config.address_pools.push_back(
        {{whole.network().value + static_cast<std::uint32_t>(i << (32 - size))}, static_cast<std::uint8_t>(size)});
  return {};
}

Option one_of(std::string_view name, std::string_view help, const std::vector<std::string>& accepted,
              std::string_view why) {
  return {name, name, 0, Kind::text, help, [=](Config&, const std::string& value) -> Result<> {
            if (std::ranges::find(accepted, value) != accepted.end()) return {};
            return fail(ErrorKind::invalid, "\"{}\" is not supported: {}", value, why);
          }};
}

// "layers=image", "compression=lz4"; Docker's keys are about drivers that are not here.
Result<> set_storage_option(Config& config, const std::string& value) {
  static const std::map<std::string, store::LayerForm> forms{{"layers=auto", store::LayerForm::automatic},
                                                             {"layers=image", store::LayerForm::image},
                                                             {"layers=directory", store::LayerForm::directory}};
  if (const auto found = forms.find(value); found != forms.end()) {
    config.layers = found->second;
    return {};
  }
  if (value == "compression=none" || value == "compression=lz4") {
    config.compress_images = value.ends_with("=lz4");
    return {};
  }
  if (value.starts_with("layers="))
    return fail(ErrorKind::invalid, "invalid storage option \"{}\": want layers=auto, image or directory", value);
  if (value.starts_with("compression="))
    return fail(ErrorKind::invalid, "invalid storage option \"{}\": want compression=none or lz4", value);
  return fail(ErrorKind::invalid,
              "unknown storage option \"{}\": there are layers=auto|image|directory and compression=none|lz4", value);
}

std::vector<Option> network_options() {
  std::vector<Option> options;
  options.push_back(
      text("bridge", &Config::bridge, "Bridge device of the default network; none for no such network", 'b'));
  options.push_back(text("bip", &Config::bridge_address, "Address and prefix of the bridge (10.1.0.1/24)"));
  options.push_back(text("fixed-cidr", &Config::fixed_cidr, "Part of the prefix that containers get addresses from"));
  options.push_back(text("ip", &Config::default_binding, "Host address of published ports that name none"));
  options.push_back(flag("icc", &Config::inter_container, "Containers of the default network reach each other"));
  options.push_back(flag("ip-forward", &Config::ip_forward, "Switch on the kernel's IP forwarding"));
  options.push_back(flag("ip-masq", &Config::masquerade, "Masquerade traffic to the outside"));
  options.push_back({"mtu", "mtu", 0, Kind::text, "MTU of the default network",
                     [](Config& config, const std::string& value) -> Result<> {
                       config.mtu = TRY(parse_number<std::uint32_t>(value));
                       if (config.mtu < 68 || config.mtu > 65535)
                         return fail(ErrorKind::invalid, "MTU {} is not between 68 and 65535", value);
                       return {};
                     }});
  options.push_back({"default-address-pool", "default-address-pools", 0, Kind::list,
                     "Prefixes for networks (base=10.10.0.0/16,size=24)", add_address_pool});
  options.push_back(engine_list("dns", "dns", &engine::Settings::dns, "DNS servers of containers"));
  options.push_back(engine_list("dns-opt", "dns-opts", &engine::Settings::dns_options, "DNS options of containers"));
  options.push_back(
      engine_list("dns-search", "dns-search", &engine::Settings::dns_search, "DNS search domains of containers"));
  options.push_back(one_of("userland-proxy", "Only false: published ports need no proxy process", {"false"},
                           "there is no proxy process"));
  return options;
}

// What pull and push go by; shown by `info`.
std::vector<Option> registry_options() {
  std::vector<Option> options;
  options.push_back(
      list("registry-mirror", "registry-mirrors", &Config::registry_mirrors, "Mirror of the default registry"));
  options.push_back(list("insecure-registry", "insecure-registries", &Config::insecure_registries,
                         "Registry that may be spoken to without verified TLS: name, address or prefix"));
  options.push_back({"trust-policy", "trust-policy", 0, Kind::text,
                     "Which repositories need which signatures (/etc/corten/trust.json)",
                     [](Config& config, const std::string& value) -> Result<> {
                       config.trust_policy = value;
                       config.trust_policy_said = true;
                       return {};
                     }});
  options.push_back(count("max-concurrent-downloads", &Config::max_concurrent_downloads, "Layers pulled at once"));
  options.push_back(count("max-concurrent-uploads", &Config::max_concurrent_uploads, "Layers pushed at once"));
  options.push_back(count("max-download-attempts", &Config::max_download_attempts, "Attempts at each layer"));
  return options;
}

std::vector<Option> container_options() {
  std::vector<Option> options;
  options.push_back(
      {"default-ulimit", "default-ulimits", 0, Kind::list, "Limits of containers (nofile=1024:2048)", add_ulimit});
  options.push_back({"default-shm-size", "default-shm-size", 0, Kind::text, "Size of /dev/shm (64M)",
                     [](Config& config, const std::string& value) -> Result<> {
                       config.engine.default_shm_size = TRY(parse_bytes(value));
                       return {};
                     }});
  options.push_back(engine_text("default-ipc-mode", &engine::Settings::default_ipc_mode, "private or shareable"));
  options.push_back(engine_text("default-cgroupns-mode", &engine::Settings::default_cgroupns_mode, "private or host"));
  options.push_back(engine_text("cgroup-parent", &engine::Settings::cgroup_parent,
                                "Control group above all containers (corten, or a name made from exec-root)"));
  options.push_back(engine_flag("init", &engine::Settings::default_init,
                                "Run an init in containers that forwards signals and reaps"));
  options.push_back(engine_text("init-path", &engine::Settings::init_program, "Path of that init"));
  options.push_back(
      engine_flag("no-new-privileges", &engine::Settings::no_new_privileges, "Containers cannot gain privileges"));
  options.push_back(engine_text("seccomp-profile", &engine::Settings::seccomp_profile, "File, builtin or unconfined"));
  options.push_back(engine_text("userns-remap", &engine::Settings::userns_remap,
                                "User (and group) whose subordinate ids containers use"));
  options.push_back(
      engine_flag("live-restore", &engine::Settings::live_restore, "Containers go on while the daemon is down"));
  options.push_back({"shutdown-timeout", "shutdown-timeout", 0, Kind::text, "Seconds for containers to stop",
                     [](Config& config, const std::string& value) -> Result<> {
                       config.engine.shutdown_timeout = std::chrono::seconds(TRY(parse_number<int>(value)));
                       if (config.engine.shutdown_timeout.count() < 0) config.engine.shutdown_timeout = no_hurry;
                       return {};
                     }});
  options.push_back({"log-driver", "log-driver", 0, Kind::text, "json-file, local, syslog, journald or none",
                     [](Config& config, const std::string& value) -> Result<> {
                       config.engine.default_log_config.type = value;
                       return {};
                     }});
  options.push_back({"log-opt", "log-opts", 0, Kind::map, "Options of the log driver (max-size=10m)",
                     [](Config& config, const std::string& value) -> Result<> {
                       const std::size_t equals = value.find('=');
                       if (equals == std::string::npos)
                         return fail(ErrorKind::invalid, "\"{}\" is not NAME=VALUE", value);
                       config.engine.default_log_config.config[value.substr(0, equals)] = value.substr(equals + 1);
                       return {};
                     }});
  options.push_back({"exec-opt", "exec-opts", 0, Kind::list, "native.cgroupdriver=cgroupfs",
                     [](Config&, const std::string& value) -> Result<> {
                       if (value == "native.cgroupdriver=cgroupfs") return {};
                       return fail(ErrorKind::invalid,
                                   "\"{}\" is not supported: control groups are made through the file system", value);
                     }});
  return options;
}

}  // namespace

std::vector<Option> make_options() {
  std::vector<Option> options;
  options.push_back({"config-file", "-", 0, Kind::text, "Configuration file (/etc/corten/daemon.json)",
                     [](Config& config, const std::string& value) -> Result<> {
                       config.config_file = value;
                       config.config_file_said = true;
                       return {};
                     }});
  options.push_back(
      list("host", "hosts", &Config::hosts, "Socket to listen on: unix:///PATH, tcp://ADDRESS:PORT or fd://", 'H'));
  options.push_back(text("group", &Config::group, "Group that owns the unix socket", 'G'));
  options.push_back(text("data-root", &Config::data_root, "Where images, containers and volumes are kept"));
  options.push_back(text("exec-root", &Config::exec_root, "Where run-time state is kept"));
  options.push_back(text("pidfile", &Config::pidfile, "File to write the daemon's process id to", 'p'));
  options.push_back(flag("debug", &Config::debug, "Log what is done", 'D'));
  options.push_back(text("log-level", &Config::log_level, "debug, info, warn, error or fatal", 'l'));
  options.push_back(text("log-format", &Config::log_format, "text or json"));
  options.push_back(flag("tls", &Config::tls, "Use TLS on tcp:// hosts; implied by --tlsverify"));
  options.push_back(flag("tlsverify", &Config::tls_verify, "Use TLS and ask clients for a certificate"));
  options.push_back(text("tlscacert", &Config::tls_ca, "Signers of client certificates"));
  options.push_back(text("tlscert", &Config::tls_certificate, "The daemon's certificate"));
  options.push_back(text("tlskey", &Config::tls_key, "The daemon's key"));
  options.push_back(list("label", "labels", &Config::labels, "name=value shown by info"));
  options.push_back(one_of("storage-driver", "overlay2", {"overlay2", "overlay"}, "layers are stacked by overlayfs"));
  options.push_back({"storage-opt", "storage-opts", 0, Kind::list,
                     "How new layers are kept: layers=auto (images where the kernel mounts them), image or directory; "
                     "compression=none or lz4 of images",
                     set_storage_option});
  options.push_back(one_of("default-runtime", "Only corten, or runc, which stands for it",
                           {"corten", "runc", "io.containerd.runc.v2"}, "there is one runtime, Corten's own"));
  options.push_back(one_of("experimental", "Only false", {"false"}, "there are no experimental features"));
  for (const auto& more : {network_options(), registry_options(), container_options()})
    options.insert(options.end(), more.begin(), more.end());
  options.push_back({"validate", "-", 0, Kind::flag, "Check the configuration and exit",
                     [](Config& config, const std::string& value) -> Result<> {
                       config.validate_only = TRY(parse_flag(value));
                       return {};
                     }});
  options.push_back({"version", "-", 'v', Kind::flag, "Print the version and exit",
                     [](Config& config, const std::string&) -> Result<> {
                       config.show_version = true;
                       return {};
                     }});
  options.push_back(
      {"help", "-", 'h', Kind::flag, "Print this and exit", [](Config& config, const std::string&) -> Result<> {
         config.show_help = true;
         return {};
       }});
  return options;
}

}  // namespace corten::daemon
