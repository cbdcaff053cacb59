// The few kernel settings under /proc/sys/net that networks need, in the calling thread's network namespace.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "base/error.h"

namespace corten::network {

// `name` with slashes ("net/ipv4/ip_forward").
Result<> write_setting(std::string_view name, std::string_view value);
// Without its trailing newline; at most 4 KiB.
Result<std::string> read_setting(std::string_view name);

// In a container's namespace: no IPv6 on interfaces added later (a network without IPv6 must not give a container
// link-local reach, CVE-2024-32473). In a fresh one also Docker's defaults for ping and low ports. A setting the kernel
// does not have is passed over.
void prepare_container_namespace(bool fresh);
// In a container's namespace: neighbours are told of an address and its MAC when a link comes up or changes its MAC.
void announce_addresses();

// Packets of the host's loopback may leave over this bridge (for published ports), and no IPv6 on it.
Result<> prepare_bridge(const std::string& link);

Result<> enable_forwarding();
// Whether bridged frames pass the IP firewall (br_netfilter): the kernel then does address translation inside the
// bridge, and a container reaches its own published port only through a port in hairpin mode.
bool bridge_calls_firewall();
// Whether the host itself speaks IPv6.
bool host_has_ipv6();
// The range that ports without a wish are taken from.
std::pair<std::uint16_t, std::uint16_t> ephemeral_ports();

}  // namespace corten::network
