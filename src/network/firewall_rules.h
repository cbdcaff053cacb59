// The rules and sets of a daemon's nftables table (drawn in firewall.h), as messages of a transaction.
#pragma once

#include <cstdint>
#include <span>

#include "network/firewall.h"
#include "sys/nftables.h"

namespace corten::network {

inline constexpr std::uint8_t firewall_family = 2;  // NFPROTO_IPV4, whose header does not go with all others

// The table with its chains and sets, without networks and ports.
void define_table(sys::NftBatch& batch);
// Adds, or takes out.
void change_network(sys::NftBatch& batch, const FirewallNetwork& network, bool add);
void change_ports(sys::NftBatch& batch, std::span<const FirewallPort> ports, bool add);

}  // namespace corten::network
