// Capabilities: names, bits, and the five sets of the calling thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace corten::sys {

using CapabilityMask = std::uint64_t;

struct CapabilitySets {
  CapabilityMask bounding = 0;
  CapabilityMask effective = 0;
  CapabilityMask inheritable = 0;
  CapabilityMask permitted = 0;
  CapabilityMask ambient = 0;
  bool operator==(const CapabilitySets&) const = default;
};

// The highest capability that this build knows (CAP_CHECKPOINT_RESTORE).
inline constexpr int last_known_capability = 40;
// All that the kernel has; reads /proc/sys/kernel/cap_last_cap once per call.
CapabilityMask all_capabilities();

// "CAP_NET_ADMIN", "net_admin" or "NET_ADMIN" gives the bit number; not_found text "unknown capability: …".
Result<int> capability_from_name(std::string_view name);
// "CAP_NET_ADMIN" for 12.
std::string_view capability_name(int bit);
std::vector<std::string> capability_names(CapabilityMask mask);
constexpr CapabilityMask capability_bit(int bit) { return CapabilityMask{1} << bit; }

// The calling thread's sets (capget and prctl).
Result<CapabilitySets> current_capabilities();
// Takes everything not in `keep` out of the bounding set.
Result<> drop_bounding(CapabilityMask keep);
// effective, permitted, inheritable by capset. `ambient` and `bounding` are not looked at.
Result<> set_capabilities(const CapabilitySets& sets);
// Makes the effective set equal to the permitted one.
Result<> raise_permitted();
// Clears the ambient set and raises the bits of `mask`.
Result<> set_ambient(CapabilityMask mask);

}  // namespace corten::sys
