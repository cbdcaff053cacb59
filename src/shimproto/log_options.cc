#include "shimproto/log_options.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <memory>
#include <optional>
#include <regex>
#include <vector>

namespace corten::shimproto {
namespace {

// Docker's own default keeps everything in one file for ever; a disk filled by a log is not something to inherit.
constexpr std::uint64_t default_max_size = 20'000'000;
constexpr std::uint32_t default_max_files = 5;
constexpr std::uint64_t default_max_buffer = 1U << 20;

struct DriverOptions {
  std::string_view name;
  LogDriver driver;
  std::vector<std::string_view> options;  // beside mode and max-buffer-size, which all take
};

const std::vector<DriverOptions>& drivers() {
  static const std::vector<DriverOptions> table{
      {"none", LogDriver::none, {}},
      {"json-file",
       LogDriver::json_file,
       {"max-file", "max-size", "compress", "labels", "labels-regex", "env", "env-regex", "tag"}},
      {"local", LogDriver::local, {"max-file", "max-size", "compress"}},
      {"syslog",
       LogDriver::syslog,
       {"env", "env-regex", "labels", "labels-regex", "syslog-address", "syslog-facility", "syslog-format", "tag",
        "cache-disabled", "cache-max-size", "cache-max-file", "cache-compress"}},
      {"journald",
       LogDriver::journald,
       {"labels", "labels-regex", "env", "env-regex", "tag", "cache-disabled", "cache-max-size", "cache-max-file",
        "cache-compress"}},
  };
  return table;
}

const DriverOptions* find_driver(std::string_view name) {
  for (const auto& driver : drivers())
    if (driver.name == name) return &driver;
  return nullptr;
}

std::string_view option(const LogOptions& options, const std::string& name) {
  const auto found = options.find(name);
  return found == options.end() ? std::string_view() : std::string_view(found->second);
}

// "20m", "1.5g", "100": decimal multiples, or binary ones for `base` 1024.
Result<std::uint64_t> parse_size(std::string_view name, std::string_view text, double base) {
  const auto bad = [&] {
    return fail(ErrorKind::invalid, "invalid value for log opt {}: invalid size: '{}'", name, text);
  };
  double number = 0;
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (code != std::errc() || !std::isfinite(number) || number < 0) return bad();
  std::string suffix(end, text.data() + text.size());
  std::transform(suffix.begin(), suffix.end(), suffix.begin(), [](unsigned char c) { return std::tolower(c); });
  std::erase(suffix, ' ');
  if (suffix.ends_with("ib")) suffix.resize(suffix.size() - 2);
  if (suffix.ends_with("b")) suffix.resize(suffix.size() - 1);
  constexpr std::string_view letters = "kmgtp";
  if (!suffix.empty()) {
    const std::size_t power = letters.find(suffix);
    if (power == std::string_view::npos || suffix.size() != 1) return bad();
    number *= std::pow(base, static_cast<double>(power + 1));
  }
  if (number > 1e18) return bad();
  return static_cast<std::uint64_t>(number);
}

Result<std::uint32_t> parse_count(std::string_view name, std::string_view text) {
  std::uint32_t value = 0;
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (code != std::errc() || end != text.data() + text.size() || value > 10'000)
    return fail(ErrorKind::invalid, "invalid value for log opt {}: '{}' is not a number", name, text);
  if (value < 1) return fail(ErrorKind::invalid, "max-file cannot be less than 1");
  return value;
}

Result<bool> parse_bool(std::string_view name, std::string_view text) {
  for (const std::string_view yes : {"1", "t", "T", "true", "TRUE", "True"})
    if (text == yes) return true;
  for (const std::string_view no : {"0", "f", "F", "false", "FALSE", "False"})
    if (text == no) return false;
  return fail(ErrorKind::invalid, "invalid value for log opt {}: '{}' is neither true nor false", name, text);
}

// Rotation of json-file and local, or of the local copy ("cache-") of a driver that sends.
Result<> compile_rotation(const LogOptions& options, const std::string& prefix, LogConfig& config) {
  config.max_size = default_max_size;
  config.max_files = default_max_files;
  if (const auto size = option(options, prefix + "max-size"); size == "-1") {
    config.max_size = 0;
  } else if (!size.empty()) {
    config.max_size = TRY(parse_size("max-size", size, 1000));
    if (config.max_size == 0) return fail(ErrorKind::invalid, "max-size must be a positive number");
  }
  if (const auto files = option(options, prefix + "max-file"); !files.empty())
    config.max_files = TRY(parse_count("max-file", files));
  if (const auto compress = option(options, prefix + "compress"); !compress.empty())
    if (TRY(parse_bool("compress", compress)))
      return fail(ErrorKind::not_implemented,
                  "log opt {}compress: rotated log files are not compressed by corten, set it to false", prefix);
  return {};
}

Result<std::regex> compile_regex(std::string_view name, std::string_view text) {
  try {
    return std::regex(text.begin(), text.end());
  } catch (const std::regex_error& error) {
    return fail(ErrorKind::invalid, "invalid value for log opt {}: {}", name, error.what());
  }
}

// What `labels`, `labels-regex`, `env` and `env-regex` select, sorted by name.
Result<std::map<std::string, std::string>> select_attributes(const LogOptions& options, const LogIdentity& identity) {
  std::map<std::string, std::string> attributes;
  const auto select = [&](const std::string& name, const std::map<std::string, std::string>& values) -> Result<> {
    std::string_view names = option(options, name);
    while (!names.empty()) {
      const std::size_t comma = names.find(',');
      const auto found = values.find(std::string(names.substr(0, comma)));
      if (found != values.end()) attributes.insert_or_assign(found->first, found->second);
      names = comma == std::string_view::npos ? std::string_view() : names.substr(comma + 1);
    }
    const auto pattern = option(options, name + "-regex");
    if (pattern.empty()) return {};
    const auto regex = TRY(compile_regex(name + "-regex", pattern));
    for (const auto& [key, value] : values)
      if (std::regex_search(key, regex)) attributes.insert_or_assign(key, value);
    return {};
  };
  CHECK(select("labels", identity.labels));
  CHECK(select("env", identity.env));
  return attributes;
}

// Go's template, of which log tags use no more than fields: "{{.Name}}/{{.ID}}".
Result<std::string> render_tag(std::string_view text, const LogIdentity& identity) {
  std::string_view image_id = identity.image_id;
  if (image_id.starts_with("sha256:")) image_id.remove_prefix(7);
  const std::array<std::pair<std::string_view, std::string_view>, 7> fields{{
      {".ID", std::string_view(identity.container_id).substr(0, 12)},
      {".FullID", identity.container_id},
      {".Name", identity.container_name},
      {".ImageID", image_id.substr(0, 12)},
      {".ImageFullID", identity.image_id},
      {".ImageName", identity.image_name},
      {".DaemonName", identity.daemon_name},
  }};
  std::string out;
  for (;;) {
    const std::size_t begin = text.find("{{");
    out.append(text.substr(0, begin));
    if (begin == std::string_view::npos) return out;
    const std::size_t end = text.find("}}", begin);
    std::string_view name = text.substr(begin + 2, end == std::string_view::npos ? 0 : end - begin - 2);
    while (name.starts_with(' ')) name.remove_prefix(1);
    while (name.ends_with(' ')) name.remove_suffix(1);
    const auto field = std::find_if(fields.begin(), fields.end(), [&](const auto& item) { return item.first == name; });
    if (field == fields.end())
      return fail(ErrorKind::invalid, "invalid value for log opt tag: cannot render \"{}\"", text.substr(begin));
    out.append(field->second);
    text.remove_prefix(end + 2);
  }
}

void append_json_string(std::string& out, std::string_view text) {
  out.push_back('"');
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out.push_back('\\');
      out.push_back(c);
    } else if (byte < 0x20 || c == '<' || c == '>' || c == '&') {
      out.append(fmt::format("\\u{:04x}", byte));
    } else {
      out.push_back(c);
    }
  }
  out.push_back('"');
}

std::string json_object(const std::map<std::string, std::string>& values) {
  if (values.empty()) return {};
  std::string out = "{";
  for (const auto& [key, value] : values) {
    if (out.size() > 1) out.push_back(',');
    append_json_string(out, key);
    out.push_back(':');
    append_json_string(out, value);
  }
  out.push_back('}');
  return out;
}

Result<std::uint32_t> parse_facility(std::string_view text) {
  constexpr std::array<std::string_view, 20> names{"kern", "user", "mail",   "daemon",   "auth",   "syslog", "lpr",
                                                   "news", "uucp", "cron",   "authpriv", "ftp",    "",       "",
                                                   "",     "",     "local0", "local1",   "local2", "local3"};
  if (text.empty()) return 3U;  // daemon
  for (std::uint32_t i = 0; i < names.size(); ++i)
    if (names[i] == text) return i;
  for (std::uint32_t i = 4; i < 8; ++i)
    if (text == fmt::format("local{}", i)) return 16U + i;
  std::uint32_t value = 0;
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (code == std::errc() && end == text.data() + text.size() && value <= 23) return value;
  return fail(ErrorKind::invalid, "invalid syslog facility");
}

struct SyslogAddress {
  std::string protocol;  // unix, unixgram, tcp, udp
  std::string path;      // unix*
  std::string host;
  std::string port = "514";
};
Result<SyslogAddress> parse_syslog_address(std::string_view text) {
  if (text.empty()) return SyslogAddress{"unixgram", "/dev/log", {}, {}};
  const std::size_t separator = text.find("://");
  if (separator == std::string_view::npos)
    return fail(ErrorKind::invalid, "syslog-address should be in form proto://address, got {}", text);
  SyslogAddress address;
  address.protocol = text.substr(0, separator);
  std::string_view rest = text.substr(separator + 3);
  if (address.protocol == "unix" || address.protocol == "unixgram") {
    if (!rest.starts_with('/') || rest.size() > 100) return fail(ErrorKind::invalid, "invalid syslog-address {}", text);
    address.path = rest;
    return address;
  }
  if (address.protocol == "tcp+tls")
    return fail(ErrorKind::not_implemented, "syslog-address {}: TLS is not supported, use tcp, udp or a unix socket",
                text);
  if (address.protocol != "tcp" && address.protocol != "udp")
    return fail(ErrorKind::invalid, "unsupported scheme: '{}'", address.protocol);
  const std::size_t bracket = rest.rfind(']');
  const std::size_t colon = rest.rfind(':');
  if (colon != std::string_view::npos && (bracket == std::string_view::npos || colon > bracket)) {
    address.port = rest.substr(colon + 1);
    rest = rest.substr(0, colon);
  }
  if (rest.starts_with('[') && rest.ends_with(']')) rest = rest.substr(1, rest.size() - 2);
  std::uint16_t port = 0;
  const auto [end, code] = std::from_chars(address.port.data(), address.port.data() + address.port.size(), port);
  if (rest.empty() || code != std::errc() || end != address.port.data() + address.port.size())
    return fail(ErrorKind::invalid, "invalid syslog-address {}", text);
  address.host = rest;
  return address;
}

// The shim is static and has no resolver.
Result<std::string> resolve(const SyslogAddress& address) {
  if (!address.path.empty()) return fmt::format("{}:{}", address.protocol, address.path);
  addrinfo hints{};
  hints.ai_socktype = address.protocol == "tcp" ? SOCK_STREAM : SOCK_DGRAM;
  addrinfo* found = nullptr;
  if (const int code = ::getaddrinfo(address.host.c_str(), address.port.c_str(), &hints, &found); code != 0)
    return fail(ErrorKind::unavailable, "resolve syslog host {}: {}", address.host, ::gai_strerror(code));
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owner(found, ::freeaddrinfo);
  std::array<char, NI_MAXHOST> host{};
  if (::getnameinfo(found->ai_addr, found->ai_addrlen, host.data(), host.size(), nullptr, 0, NI_NUMERICHOST) != 0)
    return fail(ErrorKind::unavailable, "resolve syslog host {}", address.host);
  const bool v6 = found->ai_family == AF_INET6;
  return fmt::format("{}:{}{}{}:{}", address.protocol, v6 ? "[" : "", host.data(), v6 ? "]" : "", address.port);
}

// A field name as the journal takes it: upper case letters, digits, underscores, and none of the last in front.
std::string journal_name(std::string_view name) {
  std::string out;
  for (const char c : name) {
    const auto upper = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    const bool plain = (upper >= 'A' && upper <= 'Z') || (upper >= '0' && upper <= '9');
    if (out.empty() && !plain) continue;
    out.push_back(plain ? upper : '_');
  }
  return out;
}

Result<> compile_sent(const LogOptions& options, const LogIdentity& identity, LogConfig& config) {
  const auto tag = option(options, "tag");
  config.tag = TRY(render_tag(tag.empty() ? "{{.ID}}" : tag, identity));
  if (config.driver == LogDriver::syslog) {
    config.syslog_facility = TRY(parse_facility(option(options, "syslog-facility")));
    config.syslog_format = option(options, "syslog-format");
    const auto address = TRY(parse_syslog_address(option(options, "syslog-address")));
    config.address = TRY(resolve(address));
  } else {
    const std::string_view id = identity.container_id;
    config.fields = {{"CONTAINER_ID", std::string(id.substr(0, 12))},
                     {"CONTAINER_ID_FULL", identity.container_id},
                     {"CONTAINER_NAME", identity.container_name},
                     {"CONTAINER_TAG", config.tag},
                     {"IMAGE_NAME", identity.image_name},
                     {"SYSLOG_IDENTIFIER", config.tag}};
    for (const auto& [key, value] : TRY(select_attributes(options, identity)))
      if (auto name = journal_name(key); !name.empty()) config.fields.emplace_back(std::move(name), value);
  }
  const auto disabled = option(options, "cache-disabled");
  if (!disabled.empty() && TRY(parse_bool("cache-disabled", disabled))) return {};
  config.file_name = log_file_name(config.driver, identity.container_id);
  return compile_rotation(options, "cache-", config);
}

Result<> validate_mode(const LogOptions& options) {
  const auto mode = option(options, "mode");
  if (!mode.empty() && mode != "blocking" && mode != "non-blocking")
    return fail(ErrorKind::invalid, "logger: logging mode not supported: {}", mode);
  const auto buffer = option(options, "max-buffer-size");
  if (buffer.empty()) return {};
  if (mode != "non-blocking")
    return fail(ErrorKind::invalid, "logger: max-buffer-size option is only supported with 'mode=non-blocking'");
  CHECK(parse_size("max-buffer-size", buffer, 1024));
  return {};
}

Result<> validate_values(LogDriver driver, const LogOptions& options) {
  LogConfig unused;
  CHECK(validate_mode(options));
  const bool sends = driver == LogDriver::syslog || driver == LogDriver::journald;
  CHECK(compile_rotation(options, sends ? "cache-" : "", unused));
  CHECK(select_attributes(options, {}));
  CHECK(render_tag(option(options, "tag"), {}));
  if (const auto disabled = option(options, "cache-disabled"); !disabled.empty())
    CHECK(parse_bool("cache-disabled", disabled));
  if (driver != LogDriver::syslog) return {};
  CHECK(parse_facility(option(options, "syslog-facility")));
  CHECK(parse_syslog_address(option(options, "syslog-address")));
  const auto format = option(options, "syslog-format");
  if (!format.empty() && format != "rfc3164" && format != "rfc5424" && format != "rfc5424micro")
    return fail(ErrorKind::invalid, "Invalid syslog format");
  return {};
}

}  // namespace

Result<LogDriver> parse_log_driver(std::string_view driver) {
  const auto* found = find_driver(driver);
  if (found == nullptr) return fail(ErrorKind::invalid, "logger: no log driver named '{}' is registered", driver);
  return found->driver;
}

Result<> validate_log_options(std::string_view driver, const LogOptions& options) {
  const auto kind = TRY(parse_log_driver(driver));
  if (kind == LogDriver::none) return {};
  const auto& known = find_driver(driver)->options;
  for (const auto& [name, value] : options) {
    if (name == "mode" || name == "max-buffer-size") continue;
    if (std::find(known.begin(), known.end(), name) == known.end())
      return fail(ErrorKind::invalid, "unknown log opt '{}' for {} log driver", name, driver);
  }
  return validate_values(kind, options);
}

std::string log_file_name(LogDriver driver, std::string_view container_id) {
  switch (driver) {
    case LogDriver::json_file: return fmt::format("{}-json.log", container_id);
    case LogDriver::local: return "container.log";
    case LogDriver::syslog:
    case LogDriver::journald: return "container-cached.log";
    case LogDriver::none: break;
  }
  return {};
}

Result<LogConfig> compile_log_config(std::string_view driver, const LogOptions& options, const LogIdentity& identity) {
  CHECK(validate_log_options(driver, options));
  LogConfig config;
  config.driver = TRY(parse_log_driver(driver));
  if (config.driver == LogDriver::none) return config;
  const auto buffer = option(options, "max-buffer-size");
  config.max_buffer = buffer.empty() ? default_max_buffer : TRY(parse_size("max-buffer-size", buffer, 1024));
  if (config.driver == LogDriver::syslog || config.driver == LogDriver::journald) {
    CHECK(compile_sent(options, identity, config));
    return config;
  }
  config.file_name = log_file_name(config.driver, identity.container_id);
  CHECK(compile_rotation(options, "", config));
  if (config.driver != LogDriver::json_file) return config;
  auto attributes = TRY(select_attributes(options, identity));
  if (const auto tag = option(options, "tag"); !tag.empty()) attributes["tag"] = TRY(render_tag(tag, identity));
  config.attributes = json_object(attributes);
  return config;
}

}  // namespace corten::shimproto
