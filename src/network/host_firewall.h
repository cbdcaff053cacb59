// What of the host's own firewall stands in the way of containers. Corten puts no rule into foreign tables, so the user
// must be told.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "base/error.h"

namespace corten::network {

// One line for each obstacle, with what to do about it, naming `bridges`. Only what nftables knows: rules of the old
// iptables (legacy) are not seen.
Result<std::vector<std::string>> forwarding_obstacles(const std::string& own_table,
                                                      std::span<const std::string> bridges);

}  // namespace corten::network
