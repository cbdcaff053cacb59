// The bridge device of a network: made, or taken over when it is there.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "network/address.h"
#include "sys/netlink.h"

namespace corten::network {

// What the alias of every bridge that some daemon of ours made starts with.
inline constexpr std::string_view instance_alias_prefix = "corten_";

struct Bridge {
  int index = 0;
  Ipv4Prefix address;
  bool made = false;  // it was not there before
};

// Ensures that a bridge `link` exists, is up and has `wanted` (or, without, the address it has, or the first of `pools`
// that overlaps no route of the host). `alias` marks those that we made. One that another daemon made is taken over
// only when nothing is attached to it. Kinds: conflict (a link of that name is no bridge or another daemon's, or the
// prefix overlaps a route), exhausted (no pool is free), invalid (name).
Result<Bridge> ensure_bridge(sys::NetlinkSocket& socket, const std::string& link, std::optional<Ipv4Prefix> wanted,
                             std::span<const Ipv4Prefix> pools, std::uint32_t mtu, const std::string& alias);

// What networks without a prefix of their own take: 172.17.0.0/16 to 172.31.0.0/16, then 192.168.0.0/20 onwards.
std::vector<Ipv4Prefix> usual_pools();

}  // namespace corten::network
