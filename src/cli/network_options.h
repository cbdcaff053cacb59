// --network and its company, and published ports.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "cli/flags.h"
#include "spec/container_config.h"
#include "spec/host_config.h"
#include "spec/network_settings.h"

namespace corten::cli {

struct NetworkChoice {
  std::string target;
  spec::EndpointSettings endpoint;
};

// "bridge", "container:web" or "name=mynet,alias=a,ip=10.0.0.5,driver-opt=k=v,gw-priority=1".
Result<NetworkChoice> parse_network(std::string_view text);
// The network mode and the endpoints of all --network flags, with --ip, --link, --network-alias … applied to the first.
Result<> read_networks(const FlagValues& flags, std::string& network_mode, spec::NetworkingConfig& out);

// -p ("[ip:][host:]container[/proto]" with ranges, or "target=80,published=8080").
Result<> read_published_ports(const std::vector<std::string>& given, spec::Set& exposed, spec::PortMap& bindings);
// --add-host, checked before, as the API has it: "host:address", an IPv6 one without brackets.
std::vector<std::string> extra_hosts(const std::vector<std::string>& given);
// --expose.
Result<> read_exposed_ports(const std::vector<std::string>& given, spec::Set& exposed);

}  // namespace corten::cli
