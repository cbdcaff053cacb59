// The kernel's table of connections (ctnetlink). UDP flows outlive what they were translated by: an entry made before a
// port was published, or left by a container that is gone, would keep a peer's packets going to the wrong place.
#pragma once

#include <cstdint>
#include <span>

#include "base/error.h"
#include "network/network.h"

namespace corten::network {

// Forgets UDP flows to these ports and, where `container_ip` is set, those that are translated to it. Costs a walk over
// the kernel's table, so only for UDP ports; others are passed over.
Result<> forget_flows(std::span<const PublishedPort> ports, Ipv4 container_ip);

}  // namespace corten::network
