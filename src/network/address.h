// Addresses of networks as values: IPv4 and IPv6 addresses, IPv4 prefixes, MAC addresses, and their text forms.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.h"

namespace corten::network {

// In host byte order, so that arithmetic and order are what one expects.
struct Ipv4 {
  std::uint32_t value = 0;
  auto operator<=>(const Ipv4&) const = default;
  bool is_unspecified() const { return value == 0; }
  bool is_loopback() const { return (value >> 24) == 127; }
};

// An IPv4 address with its prefix length as it is configured on an interface ("172.17.0.1/16").
struct Ipv4Prefix {
  Ipv4 address;
  std::uint8_t length = 0;
  auto operator<=>(const Ipv4Prefix&) const = default;
  std::uint32_t mask() const { return length == 0 ? 0 : ~std::uint32_t{0} << (32 - length); }
  Ipv4 network() const { return {address.value & mask()}; }
  Ipv4 broadcast() const { return {address.value | ~mask()}; }
  bool contains(Ipv4 other) const { return (other.value & mask()) == network().value; }
  bool overlaps(const Ipv4Prefix& other) const { return contains(other.network()) || other.contains(network()); }
  // The same prefix with the host bits cleared.
  Ipv4Prefix masked() const { return {network(), length}; }
};

struct Mac {
  std::array<std::uint8_t, 6> bytes{};
  auto operator<=>(const Mac&) const = default;
};

// A host address that a port is bound to: either family.
struct IpAddress {
  bool v6 = false;
  Ipv4 v4;                               // when !v6
  std::array<std::uint8_t, 16> bytes{};  // when v6, in network order
  auto operator<=>(const IpAddress&) const = default;
  bool is_unspecified() const { return v6 ? bytes == decltype(bytes){} : v4.is_unspecified(); }
};

// Strict: no leading zeros, no shortened forms. Kind invalid, text names the input.
Result<Ipv4> parse_ipv4(std::string_view text);
Result<Ipv4Prefix> parse_ipv4_prefix(std::string_view text);
Result<IpAddress> parse_ip(std::string_view text);
// Six pairs of hexadecimal digits separated by ':' or '-'.
Result<Mac> parse_mac(std::string_view text);

std::string to_string(Ipv4 address);
std::string to_string(const Ipv4Prefix& prefix);
// RFC 5952 form for IPv6, without brackets.
std::string to_string(const IpAddress& address);
std::string to_string(const Mac& mac);

// Docker's MAC for an address: 02:42 and its four bytes.
Mac mac_for(Ipv4 address);

}  // namespace corten::network
