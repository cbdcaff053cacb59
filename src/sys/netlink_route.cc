#include "sys/netlink_route.h"

#include <arpa/inet.h>
#include <linux/if.h>
#include <linux/if_bridge.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>

#include <algorithm>
#include <cstring>

namespace corten::sys {
namespace {

ifinfomsg link_header(int index, bool up) {
  ifinfomsg header{.ifi_family = AF_UNSPEC, .ifi_index = index};
  if (up) header.ifi_flags = header.ifi_change = IFF_UP;
  return header;
}

void put_address_value(NetlinkBatch& batch, std::uint16_t type, std::uint32_t address) {
  batch.put_be32(type, address);
}

void put_mac(NetlinkBatch& batch, const std::array<std::uint8_t, 6>& mac) {
  batch.put(IFLA_ADDRESS, std::as_bytes(std::span(mac)));
}

LinkCounters read_counters(std::span<const std::byte> value) {
  LinkCounters counters;
  // Older kernels send a shorter structure: the fields used here are its first.
  if (value.size() < offsetof(rtnl_link_stats64, multicast)) return counters;
  rtnl_link_stats64 stats{};
  std::memcpy(&stats, value.data(), std::min(value.size(), sizeof stats));
  counters.rx_packets = stats.rx_packets;
  counters.tx_packets = stats.tx_packets;
  counters.rx_bytes = stats.rx_bytes;
  counters.tx_bytes = stats.tx_bytes;
  counters.rx_errors = stats.rx_errors;
  counters.tx_errors = stats.tx_errors;
  counters.rx_dropped = stats.rx_dropped;
  counters.tx_dropped = stats.tx_dropped;
  return counters;
}

LinkInfo read_link(const NetlinkAnswer& answer) {
  LinkInfo link;
  const auto* header = answer.header<ifinfomsg>();
  if (!header) return link;
  link.index = header->ifi_index;
  link.up = (header->ifi_flags & IFF_UP) != 0;
  for_each_attribute(answer.attributes<ifinfomsg>(), [&](const NetlinkAttribute& attribute) {
    switch (attribute.type) {
      case IFLA_IFNAME: link.name = attribute.string(); break;
      case IFLA_IFALIAS: link.alias = attribute.string(); break;
      case IFLA_MASTER: link.master = static_cast<int>(attribute.u32()); break;
      case IFLA_LINK: link.peer = static_cast<int>(attribute.u32()); break;
      case IFLA_OPERSTATE: link.running = attribute.u8() == IF_OPER_UP; break;
      case IFLA_MTU: link.mtu = attribute.u32(); break;
      case IFLA_STATS64: link.counters = read_counters(attribute.value); break;
      case IFLA_ADDRESS:
        if (attribute.value.size() == link.mac.size())
          std::memcpy(link.mac.data(), attribute.value.data(), link.mac.size());
        break;
      case IFLA_LINKINFO:
        if (const auto kind = find_attribute(attribute.value, IFLA_INFO_KIND)) link.kind = kind->string();
        break;
      default: break;
    }
  });
  return link;
}

Result<LinkInfo> query_link(NetlinkSocket& socket, NetlinkBatch& batch) {
  LinkInfo link;
  CHECK(socket.query(batch, [&](const NetlinkAnswer& answer) {
    if (answer.type == RTM_NEWLINK) link = read_link(answer);
  }));
  return link;
}

template <class Object>
Result<std::vector<Object>> list(NetlinkSocket& socket, NetlinkBatch batch,
                                 const std::function<void(const NetlinkAnswer&, std::vector<Object>&)>& read) {
  std::vector<Object> objects;
  CHECK(socket.dump(batch, [&] { objects.clear(); }, [&](const NetlinkAnswer& answer) { read(answer, objects); }));
  return objects;
}

}  // namespace

void put_bridge(NetlinkBatch& batch, std::string_view name, const std::array<std::uint8_t, 6>& mac, std::uint32_t mtu,
                std::string_view alias) {
  batch.begin(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, link_header(0, true));
  batch.put_string(IFLA_IFNAME, name);
  put_mac(batch, mac);
  batch.put_u32(IFLA_MTU, mtu);
  const auto info = batch.open(IFLA_LINKINFO);
  batch.put_string(IFLA_INFO_KIND, "bridge");
  batch.close(info);
  batch.end();
  if (alias.empty()) return;
  // The kernel takes an alias for an existing link only.
  batch.begin(RTM_NEWLINK, 0, link_header(0, false));
  batch.put_string(IFLA_IFNAME, name);
  batch.put_string(IFLA_IFALIAS, alias);
  batch.end();
}

void put_veth(NetlinkBatch& batch, const VethSpec& veth) {
  batch.begin(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, link_header(0, false));
  batch.put_string(IFLA_IFNAME, veth.name);
  if (veth.master != 0) batch.put_u32(IFLA_MASTER, static_cast<std::uint32_t>(veth.master));
  batch.put_u32(IFLA_MTU, veth.mtu);
  batch.put_u32(IFLA_NUM_TX_QUEUES, 1);
  batch.put_u32(IFLA_NUM_RX_QUEUES, 1);
  const auto info = batch.open(IFLA_LINKINFO);
  batch.put_string(IFLA_INFO_KIND, "veth");
  const auto data = batch.open(IFLA_INFO_DATA);
  const auto peer = batch.open(VETH_INFO_PEER);
  // Not up yet: the kernel refuses to open an end whose other end is not registered.
  batch.put_header(link_header(0, false));
  batch.put_string(IFLA_IFNAME, veth.peer_name);
  batch.put_u32(IFLA_NET_NS_FD, static_cast<std::uint32_t>(veth.peer_namespace));
  put_mac(batch, veth.peer_mac);
  batch.put_u32(IFLA_MTU, veth.mtu);
  batch.put_u32(IFLA_NUM_TX_QUEUES, 1);
  batch.put_u32(IFLA_NUM_RX_QUEUES, 1);
  batch.close(peer);
  batch.close(data);
  batch.close(info);
  batch.end();
  // Before it is up, and only for an existing link: else the kernel gives it an address by itself and asks all other
  // ports of the bridge, in half a dozen packets, whether they mind.
  batch.begin(RTM_NEWLINK, 0, link_header(0, false));
  batch.put_string(IFLA_IFNAME, veth.name);
  const auto families = batch.open(IFLA_AF_SPEC);
  const auto inet6 = batch.open(AF_INET6);
  batch.put_u8(IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE);
  batch.close(inet6);
  batch.close(families);
  batch.end();
  batch.begin(RTM_NEWLINK, 0, link_header(0, true));
  batch.put_string(IFLA_IFNAME, veth.name);
  batch.end();
}

void put_link_up(NetlinkBatch& batch, int index) {
  batch.begin(RTM_NEWLINK, 0, link_header(index, true));
  batch.end();
}

void put_link_mac(NetlinkBatch& batch, int index, const std::array<std::uint8_t, 6>& mac) {
  batch.begin(RTM_NEWLINK, 0, link_header(index, false));
  put_mac(batch, mac);
  batch.end();
}

void put_link_alias(NetlinkBatch& batch, int index, std::string_view alias) {
  batch.begin(RTM_NEWLINK, 0, link_header(index, false));
  batch.put_string(IFLA_IFALIAS, alias);
  batch.end();
}

void put_link_mtu(NetlinkBatch& batch, int index, std::uint32_t mtu) {
  batch.begin(RTM_NEWLINK, 0, link_header(index, false));
  batch.put_u32(IFLA_MTU, mtu);
  batch.end();
}

void put_link_master(NetlinkBatch& batch, std::string_view name, int master) {
  batch.begin(RTM_NEWLINK, 0, link_header(0, false));
  batch.put_string(IFLA_IFNAME, name);
  batch.put_u32(IFLA_MASTER, static_cast<std::uint32_t>(master));
  batch.end();
}

void put_bridge_port(NetlinkBatch& batch, std::string_view name, bool hairpin, bool isolated) {
  batch.begin(RTM_NEWLINK, 0, link_header(0, false));
  batch.put_string(IFLA_IFNAME, name);
  const auto info = batch.open(IFLA_LINKINFO);
  batch.put_string(IFLA_INFO_SLAVE_KIND, "bridge");
  const auto data = batch.open(IFLA_INFO_SLAVE_DATA);
  batch.put_u8(IFLA_BRPORT_MODE, hairpin ? 1 : 0);
  batch.put_u8(IFLA_BRPORT_ISOLATED, isolated ? 1 : 0);
  batch.close(data);
  batch.close(info);
  batch.end();
}

void put_delete_link(NetlinkBatch& batch, std::string_view name) {
  batch.begin(RTM_DELLINK, 0, link_header(0, false));
  batch.put_string(IFLA_IFNAME, name);
  batch.end();
}

void put_address(NetlinkBatch& batch, int index, std::uint32_t address, std::uint8_t prefix_length) {
  batch.begin(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL,
              ifaddrmsg{.ifa_family = AF_INET,
                        .ifa_prefixlen = prefix_length,
                        .ifa_scope = RT_SCOPE_UNIVERSE,
                        .ifa_index = static_cast<std::uint32_t>(index)});
  put_address_value(batch, IFA_LOCAL, address);
  put_address_value(batch, IFA_ADDRESS, address);
  if (prefix_length < 31) put_address_value(batch, IFA_BROADCAST, address | (~std::uint32_t{0} >> prefix_length));
  batch.end();
}

void put_delete_address(NetlinkBatch& batch, int index, std::uint32_t address, std::uint8_t prefix_length) {
  batch.begin(
      RTM_DELADDR, 0,
      ifaddrmsg{.ifa_family = AF_INET, .ifa_prefixlen = prefix_length, .ifa_index = static_cast<std::uint32_t>(index)});
  put_address_value(batch, IFA_LOCAL, address);
  batch.end();
}

void put_default_route(NetlinkBatch& batch, std::uint32_t gateway) {
  batch.begin(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE,
              rtmsg{.rtm_family = AF_INET,
                    .rtm_table = RT_TABLE_MAIN,
                    .rtm_protocol = RTPROT_BOOT,
                    .rtm_scope = RT_SCOPE_UNIVERSE,
                    .rtm_type = RTN_UNICAST});
  put_address_value(batch, RTA_GATEWAY, gateway);
  batch.end();
}

Result<LinkInfo> find_link(NetlinkSocket& socket, std::string_view name) {
  if (name.empty() || name.size() > max_link_name) return fail(ErrorKind::not_found, "no network link \"{}\"", name);
  NetlinkBatch batch;
  batch.begin(RTM_GETLINK, 0, link_header(0, false));
  batch.put_string(IFLA_IFNAME, name);
  batch.end();
  auto link = query_link(socket, batch);
  if (!link && link.error().sys_errno() == ENODEV) return fail(ErrorKind::not_found, "no network link \"{}\"", name);
  return wrap(std::move(link), fmt::format("find network link {}", name));
}

Result<LinkInfo> find_link(NetlinkSocket& socket, int index) {
  NetlinkBatch batch;
  batch.begin(RTM_GETLINK, 0, link_header(index, false));
  batch.end();
  auto link = query_link(socket, batch);
  if (!link && link.error().sys_errno() == ENODEV)
    return fail(ErrorKind::not_found, "no network link number {}", index);
  return wrap(std::move(link), fmt::format("find network link number {}", index));
}

Result<std::vector<LinkInfo>> list_links(NetlinkSocket& socket) {
  NetlinkBatch batch;
  batch.begin(RTM_GETLINK, NLM_F_DUMP, link_header(0, false));
  batch.end();
  auto links = list<LinkInfo>(socket, std::move(batch), [](const NetlinkAnswer& answer, std::vector<LinkInfo>& to) {
    if (answer.type == RTM_NEWLINK) to.push_back(read_link(answer));
  });
  return wrap(std::move(links), "list network links");
}

Result<std::vector<AddressInfo>> list_ipv4_addresses(NetlinkSocket& socket) {
  NetlinkBatch batch;
  batch.begin(RTM_GETADDR, NLM_F_DUMP, ifaddrmsg{.ifa_family = AF_INET});
  batch.end();
  const auto read = [](const NetlinkAnswer& answer, std::vector<AddressInfo>& to) {
    const auto* header = answer.header<ifaddrmsg>();
    if (answer.type != RTM_NEWADDR || !header || header->ifa_family != AF_INET) return;
    if (const auto local = find_attribute(answer.attributes<ifaddrmsg>(), IFA_LOCAL))
      to.push_back({static_cast<int>(header->ifa_index), local->be32(), header->ifa_prefixlen});
  };
  return wrap(list<AddressInfo>(socket, std::move(batch), read), "list network addresses");
}

Result<std::vector<RouteInfo>> list_ipv4_routes(NetlinkSocket& socket) {
  NetlinkBatch batch;
  batch.begin(RTM_GETROUTE, NLM_F_DUMP, rtmsg{.rtm_family = AF_INET});
  batch.end();
  const auto read = [](const NetlinkAnswer& answer, std::vector<RouteInfo>& to) {
    const auto* header = answer.header<rtmsg>();
    if (answer.type != RTM_NEWROUTE || !header || header->rtm_family != AF_INET || header->rtm_dst_len == 0) return;
    if (header->rtm_type != RTN_UNICAST && header->rtm_type != RTN_LOCAL) return;
    const auto attributes = answer.attributes<rtmsg>();
    const auto destination = find_attribute(attributes, RTA_DST);
    const auto link = find_attribute(attributes, RTA_OIF);
    if (destination) to.push_back({destination->be32(), header->rtm_dst_len, link ? static_cast<int>(link->u32()) : 0});
  };
  return wrap(list<RouteInfo>(socket, std::move(batch), read), "list routes");
}

}  // namespace corten::sys
