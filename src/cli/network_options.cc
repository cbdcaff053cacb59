#include "cli/network_options.h"

#include <charconv>

#include "cli/validators.h"
#include "gotemplate/value.h"

namespace corten::cli {
namespace {

bool is_user_defined(std::string_view mode) {
  return mode != "default" && mode != "bridge" && mode != "host" && mode != "none" && !mode.starts_with("container:");
}

bool is_mac_address(std::string_view text) {
  // Six groups of two digits with ':' or '-' between, or three of four with '.'.
  const std::size_t group = text.find('.') != std::string_view::npos ? 4 : 2;
  const char mark = group == 4 ? '.' : text.find('-') != std::string_view::npos ? '-' : ':';
  if (text.size() != (group == 4 ? 14U : 17U)) return false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool separator = i % (group + 1) == group;
    const char c = text[i];
    const bool hex = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
    if (separator ? c != mark : !hex) return false;
  }
  return true;
}

Result<> set_network_field(NetworkChoice& choice, std::string_view key, std::string_view value) {
  auto& endpoint = choice.endpoint;
  const auto ipam = [&]() -> spec::EndpointIpamConfig& {
    if (!endpoint.ipam_config) endpoint.ipam_config.emplace();
    return *endpoint.ipam_config;
  };
  if (key == "name") {
    choice.target = value;
  } else if (key == "alias") {
    endpoint.aliases.emplace_back(value);
  } else if (key == "ip") {
    ipam().ipv4_address = value;
  } else if (key == "ip6") {
    ipam().ipv6_address = value;
  } else if (key == "link-local-ip") {
    ipam().link_local_ips.emplace_back(value);
  } else if (key == "mac-address") {
    if (!is_mac_address(value)) return fail(ErrorKind::invalid, "{} is not a valid mac address", value);
    endpoint.mac_address = value;
  } else if (key == "driver-opt") {
    const auto equals = value.find('=');
    if (equals == std::string_view::npos)
      return fail(ErrorKind::invalid, "invalid key value pair format in driver options");
    endpoint.driver_opts[std::string(value.substr(0, equals))] = value.substr(equals + 1);
  } else if (key == "gw-priority") {
    const auto number = parse_go_int(value);
    if (!number) return fail(ErrorKind::invalid, "invalid gw-priority ({}): {}", value, number.error().text());
    endpoint.gw_priority = *number;
  } else {
    return fail(ErrorKind::invalid, "invalid field key {}", key);
  }
  return {};
}

struct PortRange {
  unsigned first = 0;
  unsigned last = 0;
};

Result<unsigned> parse_port(std::string_view text) {
  unsigned port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (error == std::errc::result_out_of_range || (error == std::errc() && port > 65535)) {
    return fail(ErrorKind::invalid, "strconv.ParseUint: parsing {}: value out of range", gotemplate::quote(text));
  }
  if (error != std::errc() || end != text.data() + text.size()) {
    return fail(ErrorKind::invalid, "strconv.ParseUint: parsing {}: invalid syntax", gotemplate::quote(text));
  }
  return port;
}

Result<PortRange> parse_port_range(std::string_view text) {
  if (text.empty()) return fail(ErrorKind::invalid, "empty string specified for ports");
  const auto dash = text.find('-');
  PortRange range;
  range.first = range.last = TRY(parse_port(text.substr(0, dash)));
  if (dash != std::string_view::npos) range.last = TRY(parse_port(text.substr(dash + 1)));
  if (range.last < range.first) return fail(ErrorKind::invalid, "invalid range specified for port: {}", text);
  return range;
}

struct PortText {
  std::string ip;
  std::string host;
  std::string container;
  std::string protocol;
};

Result<PortText> split_port(std::string_view text) {
  PortText port;
  const auto slash = text.rfind('/');
  port.protocol =
      slash == std::string_view::npos || slash + 1 == text.size() ? "tcp" : std::string(text.substr(slash + 1));
  for (char& c : port.protocol) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
  const std::string_view numbers = text.substr(0, slash);
  const auto last = numbers.rfind(':');
  port.container = last == std::string_view::npos ? std::string(numbers) : std::string(numbers.substr(last + 1));
  if (last != std::string_view::npos) {
    const std::string_view before = numbers.substr(0, last);
    const auto colon = before.rfind(':');
    port.host = colon == std::string_view::npos ? std::string(before) : std::string(before.substr(colon + 1));
    if (colon != std::string_view::npos) port.ip = before.substr(0, colon);
  }
  if (port.ip.size() > 2 && port.ip.starts_with('[') && port.ip.ends_with(']'))
    port.ip = port.ip.substr(1, port.ip.size() - 2);
  return port;
}

// "target=80,published=8080,protocol=udp" in the short notation.
Result<std::string> short_notation(std::string_view text) {
  std::string target;
  std::string published;
  std::string protocol = "tcp";
  for (const auto& field : TRY(parse_csv(text))) {
    const auto equals = field.find('=');
    if (equals == std::string::npos || equals + 1 == field.size())
      return fail(ErrorKind::invalid, "invalid port format");
    const std::string key = field.substr(0, equals);
    const std::string value = field.substr(equals + 1);
    if (key == "target")
      target = value;
    else if (key == "published")
      published = value;
    else if (key == "protocol")
      protocol = value;
    else if (key != "mode")
      return fail(ErrorKind::invalid, "invalid field key {}", key);
  }
  return published + ":" + target + "/" + protocol;
}

Result<> publish(const PortText& port, spec::Set& exposed, spec::PortMap& bindings, std::string_view whole) {
  if (!port.ip.empty() && !validate::is_ip_address(port.ip))
    return fail(ErrorKind::invalid, "invalid IP address: {}", port.ip);
  if (port.container.empty()) return fail(ErrorKind::invalid, "no port specified: {}<empty>", whole);
  const auto container = parse_port_range(port.container);
  if (!container) return fail(ErrorKind::invalid, "invalid containerPort: {}", port.container);
  PortRange host;
  if (!port.host.empty()) {
    const auto parsed = parse_port_range(port.host);
    if (!parsed) return fail(ErrorKind::invalid, "invalid hostPort: {}", port.host);
    host = *parsed;
  }
  const bool one = container->first == container->last;
  if (!port.host.empty() && container->last - container->first != host.last - host.first && !one) {
    return fail(ErrorKind::invalid, "invalid ranges specified for container and host Ports: {} and {}", port.container,
                port.host);
  }
  if (port.protocol != "tcp" && port.protocol != "udp" && port.protocol != "sctp") {
    return fail(ErrorKind::invalid, "invalid proto: {}", port.protocol);
  }
  for (unsigned i = 0; i <= container->last - container->first; ++i) {
    const std::string key = fmt::format("{}/{}", container->first + i, port.protocol);
    spec::PortBinding binding;
    binding.host_ip = port.ip;
    // One container port over a range: the daemon chooses within it.
    if (!port.host.empty())
      binding.host_port = one && host.first != host.last ? port.host : std::to_string(host.first + i);
    exposed[key] = {};
    bindings[key].push_back(std::move(binding));
  }
  return {};
}

}  // namespace

Result<NetworkChoice> parse_network(std::string_view text) {
  NetworkChoice choice;
  if (text.find('=') == std::string_view::npos) {
    choice.target = text;
    return choice;
  }
  for (const auto& field : TRY(parse_csv(text))) {
    const auto equals = field.find('=');
    if (equals == std::string::npos) return fail(ErrorKind::invalid, "invalid field {}", field);
    std::string key = field.substr(0, equals);
    for (char& c : key) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
    CHECK(set_network_field(choice, key, std::string_view(field).substr(equals + 1)));
  }
  if (choice.target.empty()) return fail(ErrorKind::invalid, "network name/id is not specified");
  return choice;
}

Result<> read_networks(const FlagValues& flags, std::string& network_mode, spec::NetworkingConfig& out) {
  std::vector<NetworkChoice> choices;
  for (const auto& text : flags.list("network")) choices.push_back(TRY(parse_network(text)));
  for (const auto& text : flags.list("net")) choices.push_back(TRY(parse_network(text)));
  if (choices.empty()) choices.push_back({"default", {}});
  bool user_defined = false;
  bool other = false;
  for (std::size_t i = 0; i < choices.size(); ++i) {
    auto& [target, endpoint] = choices[i];
    if (target.empty()) return fail(ErrorKind::invalid, "no name set for network");
    (is_user_defined(target) ? user_defined : other) = true;
    if (i == 0) {
      for (const char* name : {"network-alias", "net-alias"}) {
        for (const auto& alias : flags.list(name)) endpoint.aliases.push_back(alias);
      }
      if (is_user_defined(target)) {
        for (const auto& link : flags.list("link")) endpoint.links.push_back(link);
      }
      for (const auto& ip : flags.list("link-local-ip")) CHECK(set_network_field(choices[i], "link-local-ip", ip));
      for (const std::string_view name : {"ip", "ip6", "mac-address"}) {
        if (const std::string value = flags.string(name); !value.empty())
          CHECK(set_network_field(choices[i], name, value));
      }
    }
    if (!is_user_defined(target) && !endpoint.aliases.empty()) {
      return fail(ErrorKind::invalid, "network-scoped aliases are only supported for user-defined networks");
    }
    if (out.endpoints_config.contains(target))
      return fail(ErrorKind::invalid, "network \"{}\" is specified multiple times", target);
    out.endpoints_config[target] = endpoint;
  }
  if (user_defined && other) {
    return fail(ErrorKind::invalid,
                "conflicting options: cannot attach both user-defined and non-user-defined network-modes");
  }
  network_mode = choices[0].target;
  return {};
}

Result<> read_published_ports(const std::vector<std::string>& given, spec::Set& exposed, spec::PortMap& bindings) {
  for (const auto& text : given) {
    const std::string port = text.find('=') != std::string::npos ? TRY(short_notation(text)) : text;
    CHECK(publish(TRY(split_port(port)), exposed, bindings, port));
  }
  return {};
}

Result<> read_exposed_ports(const std::vector<std::string>& given, spec::Set& exposed) {
  for (const auto& text : given) {
    if (text.find(':') != std::string::npos)
      return fail(ErrorKind::invalid, "invalid port format for --expose: {}", text);
    const PortText port = TRY(split_port(text));
    const auto range = parse_port_range(port.container);
    if (!range)
      return fail(ErrorKind::invalid, "invalid range format for --expose: {}, error: {}", text, range.error().text());
    for (unsigned number = range->first; number <= range->last; ++number) {
      exposed[fmt::format("{}/{}", number, port.protocol)] = {};
    }
  }
  return {};
}

std::vector<std::string> extra_hosts(const std::vector<std::string>& given) {
  std::vector<std::string> out;
  for (const std::string& text : given) {
    const auto equals = text.find('=');
    const auto mark = equals == std::string::npos ? text.find(':') : equals;
    std::string address = text.substr(mark + 1);
    if (address.size() > 2 && address.starts_with('[') && address.ends_with(']'))
      address = address.substr(1, address.size() - 2);
    out.push_back(text.substr(0, mark) + ":" + address);
  }
  return out;
}

}  // namespace corten::cli
