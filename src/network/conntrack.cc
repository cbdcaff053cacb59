#include "network/conntrack.h"

#include <arpa/inet.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <optional>
#include <vector>

#include "sys/netlink.h"

namespace corten::network {
namespace {

constexpr std::uint16_t message_type(std::uint16_t message) { return NFNL_SUBSYS_CTNETLINK << 8 | message; }

nfgenmsg header() { return {.nfgen_family = AF_INET, .version = NFNETLINK_V0}; }

struct Tuple {
  std::uint8_t protocol = 0;
  std::uint32_t source = 0;
  std::uint32_t destination = 0;
  std::uint16_t destination_port = 0;
};

Tuple read_tuple(std::span<const std::byte> bytes) {
  Tuple tuple;
  if (const auto ip = sys::find_attribute(bytes, CTA_TUPLE_IP)) {
    if (const auto source = sys::find_attribute(ip->value, CTA_IP_V4_SRC)) tuple.source = source->be32();
    if (const auto destination = sys::find_attribute(ip->value, CTA_IP_V4_DST)) tuple.destination = destination->be32();
  }
  if (const auto proto = sys::find_attribute(bytes, CTA_TUPLE_PROTO)) {
    if (const auto number = sys::find_attribute(proto->value, CTA_PROTO_NUM)) tuple.protocol = number->u8();
    if (const auto port = sys::find_attribute(proto->value, CTA_PROTO_DST_PORT)) tuple.destination_port = port->be16();
  }
  return tuple;
}

}  // namespace

Result<> forget_flows(std::span<const PublishedPort> ports, Ipv4 container_ip) {
  std::vector<std::uint16_t> udp;
  for (const PublishedPort& port : ports)
    if (port.protocol == Protocol::udp) udp.push_back(port.host_port);
  if (udp.empty()) return {};
  std::ranges::sort(udp);

  auto socket = TRY(sys::NetlinkSocket::open(NETLINK_NETFILTER));
  sys::NetlinkBatch dump;
  dump.begin(message_type(IPCTNL_MSG_CT_GET), NLM_F_DUMP, header());
  dump.end();
  sys::NetlinkBatch forget;
  CHECK_AS(socket.query(dump,
                        [&](const sys::NetlinkAnswer& answer) {
                          const auto attributes = answer.attributes<nfgenmsg>();
                          const auto original = sys::find_attribute(attributes, CTA_TUPLE_ORIG);
                          const auto reply = sys::find_attribute(attributes, CTA_TUPLE_REPLY);
                          if (!original || !reply) return;
                          const Tuple tuple = read_tuple(original->value);
                          const Tuple back = read_tuple(reply->value);
                          if (tuple.protocol != IPPROTO_UDP) return;
                          // A flow whose source is translated goes out to the same port of another host.
                          const bool to_port = std::ranges::binary_search(udp, tuple.destination_port) &&
                                               back.destination == tuple.source;
                          const bool to_container = container_ip.value != 0 && back.source == container_ip.value;
                          if (!to_port && !to_container) return;
                          forget.begin(message_type(IPCTNL_MSG_CT_DELETE), 0, header());
                          forget.put(CTA_TUPLE_ORIG | NLA_F_NESTED, original->value);
                          if (const auto zone = sys::find_attribute(attributes, CTA_ZONE))
                            forget.put(CTA_ZONE, zone->value);
                          forget.end();
                        }),
           "list UDP connections");
  std::vector<sys::NetlinkSocket::Failure> failures;
  const auto result = socket.execute(forget, &failures);
  // One that ended by itself meanwhile is as good as forgotten.
  const auto ended = [](const auto& failure) { return failure.sys_errno == ENOENT; };
  if (!failures.empty() && std::ranges::all_of(failures, ended)) return {};
  return wrap(result, "forget UDP connections");
}

}  // namespace corten::network
