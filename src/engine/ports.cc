#include "engine/ports.h"

#include <charconv>

namespace corten::engine {
namespace {

Result<std::uint16_t> parse_port(std::string_view text, std::string_view whole) {
  unsigned number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (text.empty() || error != std::errc() || end != text.data() + text.size() || number > 65535) {
    return fail(ErrorKind::invalid, "invalid port specification: \"{}\"", whole);
  }
  return static_cast<std::uint16_t>(number);
}

Result<> parse_host_port(std::string_view text, network::PortRequest& request) {
  if (text.empty()) return {};
  const auto dash = text.find('-');
  request.host_port = TRY(parse_port(text.substr(0, dash), text));
  if (dash == std::string_view::npos) return {};
  request.host_port_end = TRY(parse_port(text.substr(dash + 1), text));
  if (request.host_port_end < request.host_port || request.host_port == 0) {
    return fail(ErrorKind::invalid, "invalid port specification: \"{}\": not a range", text);
  }
  return {};
}

}  // namespace

Result<ContainerPort> parse_container_port(std::string_view text) {
  const auto slash = text.find('/');
  ContainerPort port;
  port.port = TRY(parse_port(text.substr(0, slash), text));
  if (port.port == 0) return fail(ErrorKind::invalid, "invalid port specification: \"{}\"", text);
  if (slash != std::string_view::npos) port.protocol = TRY(network::parse_protocol(text.substr(slash + 1)));
  return port;
}

Result<std::vector<network::PortRequest>> port_requests(const spec::ContainerConfig& config,
                                                        const spec::HostConfig& host_config) {
  std::vector<network::PortRequest> requests;
  const auto has_request = [&](const ContainerPort& port) {
    for (const auto& request : requests) {
      if (request.container_port == port.port && request.protocol == port.protocol) return true;
    }
    return false;
  };
  for (const auto& [text, bindings] : host_config.port_bindings) {
    const auto port = TRY(parse_container_port(text));
    for (const auto& binding : bindings) {
      network::PortRequest request{port.protocol, port.port, binding.host_ip, 0, 0};
      CHECK(parse_host_port(binding.host_port, request));
      requests.push_back(std::move(request));
    }
  }
  if (!host_config.publish_all_ports) return requests;
  for (const auto& [text, bindings] : host_config.port_bindings) {
    const auto port = TRY(parse_container_port(text));
    if (!has_request(port)) requests.push_back({port.protocol, port.port, "", 0, 0});
  }
  for (const auto& [text, nothing] : config.exposed_ports) {
    const auto port = TRY(parse_container_port(text));
    if (!has_request(port)) requests.push_back({port.protocol, port.port, "", 0, 0});
  }
  return requests;
}

}  // namespace corten::engine
