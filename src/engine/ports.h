// -p and -P as requests to the network.
#pragma once

#include <vector>

#include "base/error.h"
#include "network/network.h"
#include "spec/container_config.h"
#include "spec/host_config.h"

namespace corten::engine {

struct ContainerPort {
  std::uint16_t port = 0;
  network::Protocol protocol = network::Protocol::tcp;
};
// "80/tcp", "80": invalid for anything else.
Result<ContainerPort> parse_container_port(std::string_view text);

// Bindings first, in their order; with -P then a random host port for each exposed port that has no binding.
Result<std::vector<network::PortRequest>> port_requests(const spec::ContainerConfig& config,
                                                        const spec::HostConfig& host_config);

}  // namespace corten::engine
