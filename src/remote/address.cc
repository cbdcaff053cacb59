#include "remote/address.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <memory>
#include <span>

namespace corten::remote {
namespace {

constexpr std::array<std::uint8_t, 12> mapped_prefix{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
constexpr std::array<std::uint8_t, 12> nat64_prefix{0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0};
constexpr int mapped_bits = 96;

template <std::size_t N>
bool starts_with(const Address& address, const std::array<std::uint8_t, N>& prefix) {
  return std::equal(prefix.begin(), prefix.end(), address.bytes.begin());
}

Address from_v4(std::span<const std::uint8_t, 4> bytes) {
  Address address;
  std::ranges::copy(mapped_prefix, address.bytes.begin());
  std::ranges::copy(bytes, address.bytes.begin() + mapped_prefix.size());
  return address;
}

// The IPv4 address that an IPv6 address stands for, itself where it stands for none.
Address unwrapped(const Address& address) {
  const std::span bytes(address.bytes);
  if (starts_with(address, nat64_prefix)) return from_v4(bytes.subspan<12, 4>());
  if (bytes[0] == 0x20 && bytes[1] == 0x02) return from_v4(bytes.subspan<2, 4>());
  return address;
}

bool within(const Address& address, std::initializer_list<std::string_view> networks) {
  return std::ranges::any_of(networks, [&](std::string_view text) {
    const auto network = Cidr::parse(text);
    return network && network->contains(address);
  });
}

}  // namespace

std::optional<Address> Address::parse(std::string_view text) {
  if (text.size() > 64) return std::nullopt;
  const std::string name(text.substr(0, text.find('%')));
  std::array<std::uint8_t, 4> v4{};
  if (::inet_pton(AF_INET, name.c_str(), v4.data()) == 1) return from_v4(v4);
  Address address;
  if (::inet_pton(AF_INET6, name.c_str(), address.bytes.data()) == 1) return address;
  return std::nullopt;
}

bool Address::is_v4() const { return starts_with(*this, mapped_prefix); }

AddressClass classify(const Address& address) {
  const Address plain = unwrapped(address);
  if (within(plain, {"127.0.0.0/8", "0.0.0.0/8", "::1/128", "::/128"})) return AddressClass::loopback;
  // Behind the link-local ones: Amazon's in IPv6, Alibaba's, Azure's.
  if (within(plain, {"169.254.0.0/16", "fe80::/10", "fd00:ec2::/32", "100.100.100.200/32", "168.63.129.16/32"}))
    return AddressClass::link_local;
  return AddressClass::ordinary;
}

std::optional<Cidr> Cidr::parse(std::string_view text) {
  const auto slash = text.find('/');
  if (slash == std::string_view::npos) return std::nullopt;
  const auto network = Address::parse(text.substr(0, slash));
  const auto digits = text.substr(slash + 1);
  int prefix = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), prefix);
  if (!network || error != std::errc() || end != digits.data() + digits.size() || prefix < 0) return std::nullopt;
  const bool v4 = text.substr(0, slash).find(':') == std::string_view::npos;
  if (prefix > (v4 ? 32 : 128)) return std::nullopt;
  return Cidr{*network, v4 ? prefix + mapped_bits : prefix};
}

bool Cidr::contains(const Address& address) const {
  for (int bit = 0; bit < prefix; bit += 8) {
    const auto index = static_cast<std::size_t>(bit / 8);
    const int left = std::min(prefix - bit, 8);
    const auto mask = static_cast<std::uint8_t>(0xff << (8 - left));
    if (((network.bytes.at(index) ^ address.bytes.at(index)) & mask) != 0) return false;
  }
  return true;
}

std::vector<Address> look_up(const std::string& host) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* list = nullptr;
  if (::getaddrinfo(host.c_str(), nullptr, &hints, &list) != 0) return {};
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> own(list, ::freeaddrinfo);
  std::vector<Address> addresses;
  for (const addrinfo* entry = list; entry != nullptr; entry = entry->ai_next) {
    if (entry->ai_family == AF_INET) {
      std::array<std::uint8_t, 4> bytes{};
      std::memcpy(bytes.data(), &reinterpret_cast<const sockaddr_in*>(entry->ai_addr)->sin_addr, bytes.size());
      addresses.push_back(from_v4(bytes));
    } else if (entry->ai_family == AF_INET6) {
      Address address;
      std::memcpy(address.bytes.data(), &reinterpret_cast<const sockaddr_in6*>(entry->ai_addr)->sin6_addr, 16);
      addresses.push_back(address);
    }
  }
  return addresses;
}

}  // namespace corten::remote
