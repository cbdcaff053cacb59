#include "cli/validators.h"

#include <arpa/inet.h>

#include <array>
#include <charconv>

#include "cli/mount_options.h"
#include "cli/network_options.h"
#include "cli/resource_options.h"
#include "gotemplate/value.h"

namespace corten::cli::validate {

bool is_ip_address(std::string_view text) {
  const std::string address(text);
  unsigned char buffer[sizeof(in6_addr)];
  return ::inet_pton(AF_INET, address.c_str(), buffer) == 1 || ::inet_pton(AF_INET6, address.c_str(), buffer) == 1;
}

Result<> stream_name(std::string_view value) {
  std::string lower(value);
  for (char& c : lower) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
  if (lower == "stdin" || lower == "stdout" || lower == "stderr") return {};
  return fail(ErrorKind::invalid, "valid streams are STDIN, STDOUT and STDERR");
}

Result<> environment(std::string_view value) {
  if (value.empty() || value.starts_with('='))
    return fail(ErrorKind::invalid, "invalid environment variable: {}", value);
  return {};
}

Result<> label(std::string_view value) {
  if (value.empty() || value.starts_with('=')) return fail(ErrorKind::invalid, "invalid label '{}': empty name", value);
  return {};
}

Result<> extra_host(std::string_view value) {
  auto mark = value.find('=');
  if (mark == std::string_view::npos) mark = value.find(':');
  if (mark == std::string_view::npos || mark == 0) {
    return fail(ErrorKind::invalid, "bad format for add-host: {}", gotemplate::quote(value));
  }
  std::string_view address = value.substr(mark + 1);
  if (address == "host-gateway") return {};
  if (address.size() > 2 && address.starts_with('[') && address.ends_with(']'))
    address = address.substr(1, address.size() - 2);
  if (!is_ip_address(address))
    return fail(ErrorKind::invalid, "invalid IP address in add-host: {}", gotemplate::quote(address));
  return {};
}

Result<> ip_address(std::string_view value) {
  if (is_ip_address(value)) return {};
  return fail(ErrorKind::invalid, "IP address is not correctly formatted: {}", value);
}

Result<> link(std::string_view value) {
  if (value.empty()) return fail(ErrorKind::invalid, "empty string specified for links");
  const auto first = value.find(':');
  if (first != std::string_view::npos && value.find(':', first + 1) != std::string_view::npos) {
    return fail(ErrorKind::invalid, "bad format for links: {}", value);
  }
  return {};
}

Result<> ulimit(std::string_view value) {
  TRY(parse_ulimit(value));
  return {};
}
Result<> mount(std::string_view value) {
  TRY(parse_mount(value));
  return {};
}
Result<> network(std::string_view value) {
  TRY(parse_network(value));
  return {};
}
Result<> weight_device(std::string_view value) {
  TRY(parse_weight_device(value));
  return {};
}
Result<> throttle_bps(std::string_view value) {
  TRY(parse_throttle(value, true));
  return {};
}
Result<> throttle_iops(std::string_view value) {
  TRY(parse_throttle(value, false));
  return {};
}

// "c 1:3 rwm": a|b|c, then major:minor of numbers or '*', then one to three of "rwm".
Result<> device_cgroup_rule(std::string_view value) {
  const auto bad = [&] { return fail(ErrorKind::invalid, "invalid device cgroup format '{}'", value); };
  if (value.size() < 7 || std::string_view("abc").find(value[0]) == std::string_view::npos || value[1] != ' ')
    return bad();
  std::string_view rest = value.substr(2);
  const auto number = [&](char end) {
    const auto at = rest.find(end);
    if (at == std::string_view::npos || at == 0) return false;
    const std::string_view digits = rest.substr(0, at);
    rest.remove_prefix(at + 1);
    return digits == "*" || digits.find_first_not_of("0123456789") == std::string_view::npos;
  };
  if (!number(':') || !number(' ')) return bad();
  if (rest.empty() || rest.size() > 3 || rest.find_first_not_of("rwm") != std::string_view::npos) return bad();
  return {};
}

Result<> sysctl(std::string_view value) {
  static constexpr std::array exact{"kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem",
                                    "kernel.shmall", "kernel.shmmax", "kernel.shmmni", "kernel.shm_rmid_forced"};
  const auto equals = value.find('=');
  if (equals != std::string_view::npos) {
    const std::string_view name = value.substr(0, equals);
    for (const std::string_view known : exact) {
      if (name == known) return {};
    }
    if (name.starts_with("net.") || name.starts_with("fs.mqueue.")) return {};
  }
  return fail(ErrorKind::invalid, "sysctl '{}' is not allowed", value);
}

Result<> filter(std::string_view value) {
  if (value.empty() || value.find('=') != std::string_view::npos) return {};
  return fail(ErrorKind::invalid, "bad format of filter (expected name=value)");
}

}  // namespace corten::cli::validate
