#include "network/address.h"

#include <arpa/inet.h>

#include <charconv>
#include <cstring>

namespace corten::network {
namespace {

// Decimal without sign or leading zeros, at most `max`; -1 for anything else.
int parse_decimal(std::string_view text, int max) {
  if (text.empty() || text.size() > 3 || (text.size() > 1 && text[0] == '0')) return -1;
  int value = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') return -1;
    value = value * 10 + (c - '0');
  }
  return value > max ? -1 : value;
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace

Result<Ipv4> parse_ipv4(std::string_view text) {
  Ipv4 address;
  std::string_view rest = text;
  for (int part = 0; part < 4; ++part) {
    const std::size_t dot = part < 3 ? rest.find('.') : rest.size();
    const int value = dot == std::string_view::npos ? -1 : parse_decimal(rest.substr(0, dot), 255);
    if (value < 0) return fail(ErrorKind::invalid, "invalid IPv4 address: {}", text);
    address.value = address.value << 8 | static_cast<std::uint32_t>(value);
    rest.remove_prefix(part < 3 ? dot + 1 : dot);
  }
  return address;
}

Result<Ipv4Prefix> parse_ipv4_prefix(std::string_view text) {
  const std::size_t slash = text.find('/');
  if (slash == std::string_view::npos) return fail(ErrorKind::invalid, "invalid CIDR address: {}", text);
  const auto address = parse_ipv4(text.substr(0, slash));
  const int length = parse_decimal(text.substr(slash + 1), 32);
  if (!address || length < 0) return fail(ErrorKind::invalid, "invalid CIDR address: {}", text);
  return Ipv4Prefix{*address, static_cast<std::uint8_t>(length)};
}

Result<IpAddress> parse_ip(std::string_view text) {
  IpAddress address;
  if (const auto v4 = parse_ipv4(text)) {
    address.v4 = *v4;
    return address;
  }
  std::string inner(text);
  if (inner.size() >= 2 && inner.front() == '[' && inner.back() == ']') inner = inner.substr(1, inner.size() - 2);
  if (inner.size() > INET6_ADDRSTRLEN || inet_pton(AF_INET6, inner.c_str(), address.bytes.data()) != 1)
    return fail(ErrorKind::invalid, "invalid IP address: {}", text);
  address.v6 = true;
  return address;
}

Result<Mac> parse_mac(std::string_view text) {
  Mac mac;
  if (text.size() != 17) return fail(ErrorKind::invalid, "invalid MAC address: {}", text);
  for (std::size_t i = 0; i < 6; ++i) {
    const int high = hex_digit(text[i * 3]), low = hex_digit(text[i * 3 + 1]);
    const bool separated = i == 5 || ((text[i * 3 + 2] == ':' || text[i * 3 + 2] == '-') && text[i * 3 + 2] == text[2]);
    if (high < 0 || low < 0 || !separated) return fail(ErrorKind::invalid, "invalid MAC address: {}", text);
    mac.bytes[i] = static_cast<std::uint8_t>(high << 4 | low);
  }
  return mac;
}

std::string to_string(Ipv4 address) {
  return fmt::format("{}.{}.{}.{}", address.value >> 24, address.value >> 16 & 255, address.value >> 8 & 255,
                     address.value & 255);
}

std::string to_string(const Ipv4Prefix& prefix) {
  return fmt::format("{}/{}", to_string(prefix.address), prefix.length);
}

std::string to_string(const IpAddress& address) {
  if (!address.v6) return to_string(address.v4);
  char text[INET6_ADDRSTRLEN] = {};
  inet_ntop(AF_INET6, address.bytes.data(), text, sizeof text);
  return text;
}

std::string to_string(const Mac& mac) {
  const auto& b = mac.bytes;
  return fmt::format("{:02x}:{:02x}:{:02x}:{:02x}:{:02x}:{:02x}", b[0], b[1], b[2], b[3], b[4], b[5]);
}

Mac mac_for(Ipv4 address) {
  const std::uint32_t v = address.value;
  return {{0x02, 0x42, std::uint8_t(v >> 24), std::uint8_t(v >> 16), std::uint8_t(v >> 8), std::uint8_t(v)}};
}

}  // namespace corten::network
