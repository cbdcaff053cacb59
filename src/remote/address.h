// Internet addresses as far as trust depends on them: which network, this machine, or a link's own services.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace corten::remote {

// Sixteen bytes; IPv4 in its mapped form (::ffff:a.b.c.d), so that both spellings of one address are one address.
struct Address {
  std::array<std::uint8_t, 16> bytes{};
  // "10.0.0.7", "::1", also with a zone ("fe80::1%eth0"), which is dropped. Nothing else: no octal, no short forms.
  static std::optional<Address> parse(std::string_view text);
  bool is_v4() const;
  bool operator==(const Address&) const = default;
};

enum class AddressClass : std::uint8_t {
  ordinary,
  loopback,    // this machine: 127.0.0.0/8, ::1, and 0.0.0.0/8 and ::, which connect to it
  link_local,  // 169.254.0.0/16, fe80::/10 and the other places where clouds answer with a machine's own secrets
};
// Looks through the forms that carry an IPv4 address inside (mapped, NAT64, 6to4).
AddressClass classify(const Address& address);

struct Cidr {
  Address network;
  int prefix = 0;  // of 128
  // "10.0.0.0/8", "fd00::/8".
  static std::optional<Cidr> parse(std::string_view text);
  bool contains(const Address& address) const;
};

// What the system's resolver says; empty where it knows nothing. Blocks.
std::vector<Address> look_up(const std::string& host);

}  // namespace corten::remote
