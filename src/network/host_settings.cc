#include "network/host_settings.h"

#include <fcntl.h>
#include <unistd.h>

#include <charconv>

#include "base/log.h"
#include "base/unique_fd.h"

namespace corten::network {
namespace {

std::string setting_path(std::string_view name) { return fmt::format("/proc/sys/{}", name); }

void set_if_there(std::string_view name, std::string_view value) {
  const auto result = write_setting(name, value);
  if (!result && result.error().sys_errno() != ENOENT) log::warn("{}", result.error().text());
}

}  // namespace

Result<> write_setting(std::string_view name, std::string_view value) {
  const std::string path = setting_path(name);
  const UniqueFd file(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!file) return sys_fail("open {}", path);
  if (::write(file.get(), value.data(), value.size()) != static_cast<ssize_t>(value.size()))
    return sys_fail("write {} to {}", value, path);
  return {};
}

Result<std::string> read_setting(std::string_view name) {
  const std::string path = setting_path(name);
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) return sys_fail("open {}", path);
  char text[4096];
  const ssize_t size = ::read(file.get(), text, sizeof text);
  if (size < 0) return sys_fail("read {}", path);
  std::string value(text, static_cast<std::size_t>(size));
  if (value.ends_with('\n')) value.pop_back();
  return value;
}

void prepare_container_namespace(bool fresh) {
  set_if_there("net/ipv6/conf/default/disable_ipv6", "1");
  if (!fresh) return;
  set_if_there("net/ipv4/ip_unprivileged_port_start", "0");
  set_if_there("net/ipv4/ping_group_range", "0 2147483647");
}

void announce_addresses() { set_if_there("net/ipv4/conf/all/arp_notify", "1"); }

Result<> prepare_bridge(const std::string& link) {
  set_if_there(fmt::format("net/ipv6/conf/{}/disable_ipv6", link), "1");
  return write_setting(fmt::format("net/ipv4/conf/{}/route_localnet", link), "1");
}

Result<> enable_forwarding() {
  if (const auto value = read_setting("net/ipv4/ip_forward"); value && *value == "1") return {};
  return wrap(write_setting("net/ipv4/ip_forward", "1"), "enable IPv4 forwarding");
}

bool bridge_calls_firewall() {
  const auto value = read_setting("net/bridge/bridge-nf-call-iptables");
  return value && *value == "1";
}

bool host_has_ipv6() {
  const auto value = read_setting("net/ipv6/conf/all/disable_ipv6");
  return value && *value == "0";
}

std::pair<std::uint16_t, std::uint16_t> ephemeral_ports() {
  constexpr std::pair<std::uint16_t, std::uint16_t> usual{32768, 60999};
  const auto value = read_setting("net/ipv4/ip_local_port_range");
  if (!value) return usual;
  std::uint16_t first = 0, last = 0;
  const char* end = value->data() + value->size();
  const auto one = std::from_chars(value->data(), end, first);
  const char* rest = one.ptr;
  while (rest != end && (*rest == ' ' || *rest == '\t')) ++rest;
  const auto two = std::from_chars(rest, end, last);
  if (one.ec != std::errc{} || two.ec != std::errc{} || first == 0 || last < first) return usual;
  return {first, last};
}

}  // namespace corten::network
