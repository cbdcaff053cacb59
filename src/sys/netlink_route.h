// Links, addresses and routes through rtnetlink: requests put into a batch, and questions asked on a socket.
//
// Requests are executed by NetlinkSocket::execute, any number of them in one system call. IPv4 addresses are numbers in
// host byte order.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "sys/netlink.h"

namespace corten::sys {

// The kernel's limit for a link's name, without the terminating zero.
constexpr std::size_t max_link_name = 15;

struct LinkCounters {
  std::uint64_t rx_packets = 0, tx_packets = 0, rx_bytes = 0, tx_bytes = 0;
  std::uint64_t rx_errors = 0, tx_errors = 0, rx_dropped = 0, tx_dropped = 0;
};

struct LinkInfo {
  int index = 0;
  std::string name;
  std::string kind;   // "bridge", "veth", …; empty for hardware
  std::string alias;  // IFLA_IFALIAS
  std::array<std::uint8_t, 6> mac{};
  int master = 0;  // index of the bridge it is attached to
  int peer = 0;    // a veth's other end, in its own namespace's numbers
  std::uint32_t mtu = 0;
  bool up = false;
  bool running = false;  // operational state "up": there is a carrier and the kernel has acted on it
  LinkCounters counters;
};

struct AddressInfo {
  int link = 0;
  std::uint32_t address = 0;
  std::uint8_t prefix_length = 0;
};

struct RouteInfo {
  std::uint32_t destination = 0;
  std::uint8_t prefix_length = 0;
  int link = 0;
};

struct VethSpec {
  std::string_view name;       // the end that stays, brought up at once
  int master = 0;              // attached to this bridge; 0: to none
  std::string_view peer_name;  // the other end, made directly inside peer_namespace, down
  int peer_namespace = -1;     // descriptor
  std::array<std::uint8_t, 6> peer_mac{};
  std::uint32_t mtu = 1500;
};

// The bridge is made up. `mac` fixes its address, which otherwise changes with its ports.
void put_bridge(NetlinkBatch& batch, std::string_view name, const std::array<std::uint8_t, 6>& mac, std::uint32_t mtu,
                std::string_view alias);
// One receive and one transmit queue: the kernel's default of one per processor costs a quarter of the time. The end
// that stays gets no IPv6 address of its own; where it knows no IPv6 at all, the second of the three requests fails
// with EAFNOSUPPORT.
void put_veth(NetlinkBatch& batch, const VethSpec& veth);
void put_link_up(NetlinkBatch& batch, int index);
void put_link_mac(NetlinkBatch& batch, int index, const std::array<std::uint8_t, 6>& mac);
void put_link_alias(NetlinkBatch& batch, int index, std::string_view alias);
void put_link_mtu(NetlinkBatch& batch, int index, std::uint32_t mtu);
void put_link_master(NetlinkBatch& batch, std::string_view name, int master);
// Behaviour as a bridge's port: `hairpin` sends frames back to where they came from, `isolated` ports do not reach
// each other. By name, so that it can follow put_veth in the same batch.
void put_bridge_port(NetlinkBatch& batch, std::string_view name, bool hairpin, bool isolated);
void put_delete_link(NetlinkBatch& batch, std::string_view name);
void put_address(NetlinkBatch& batch, int index, std::uint32_t address, std::uint8_t prefix_length);
void put_delete_address(NetlinkBatch& batch, int index, std::uint32_t address, std::uint8_t prefix_length);
void put_default_route(NetlinkBatch& batch, std::uint32_t gateway);

// Kind not_found when there is no such link.
Result<LinkInfo> find_link(NetlinkSocket& socket, std::string_view name);
Result<LinkInfo> find_link(NetlinkSocket& socket, int index);
Result<std::vector<LinkInfo>> list_links(NetlinkSocket& socket);
Result<std::vector<AddressInfo>> list_ipv4_addresses(NetlinkSocket& socket);
// Unicast and local routes of all tables, without the default ones.
Result<std::vector<RouteInfo>> list_ipv4_routes(NetlinkSocket& socket);

}  // namespace corten::sys
