#include "network/firewall_rules.h"

#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>

namespace corten::network {
namespace {

using sys::Bytes;
using sys::NftBatch;
using sys::NftElement;
using sys::NftHook;
using sys::NftType;

constexpr std::int32_t priority_raw = -300, priority_dnat = -100, priority_filter = 0, priority_snat = 100;
// Offsets in the IPv4 header and in the first bytes of TCP, UDP and SCTP alike.
constexpr std::uint32_t ip_source = 12, ip_destination = 16, port_destination = 2;

constexpr const char* bridges = "bridges";              // links of all networks
constexpr const char* internal = "internal";            // links of networks without a way out
constexpr const char* same = "same";                    // link . link of networks whose containers reach each other
constexpr const char* masqueraded = "masqueraded";      // prefixes with a way out
constexpr const char* near = "near";                    // prefixes of all networks, and loopback
constexpr const char* ports_any = "ports_any";          // protocol . port : address . port
constexpr const char* ports_address = "ports_address";  // protocol . address . port : address . port

std::uint8_t protocol_number(Protocol protocol) {
  switch (protocol) {
    case Protocol::tcp: return IPPROTO_TCP;
    case Protocol::udp: return IPPROTO_UDP;
    case Protocol::sctp: return IPPROTO_SCTP;
  }
  return 0;
}

template <class T>
Bytes host_order(T value) {
  const auto bytes = std::as_bytes(std::span(&value, 1));
  return {bytes.begin(), bytes.end()};
}

Bytes link_key(const std::string& link) {
  Bytes key;
  sys::nft_append_name(key, link);
  return key;
}

NftElement name_element(const std::string& link) { return {.key = link_key(link)}; }

NftElement pair_element(const std::string& link) {
  NftElement element;
  sys::nft_append_name(element.key, link);
  sys::nft_append_name(element.key, link);
  return element;
}

// A prefix in an interval set: its first address, and the first one behind it as an end mark.
void append_prefix(std::vector<NftElement>& elements, const Ipv4Prefix& prefix) {
  NftElement first, end;
  sys::nft_append_be32(first.key, prefix.network().value);
  elements.push_back(std::move(first));
  if (prefix.broadcast().value == ~std::uint32_t{0}) return;
  sys::nft_append_be32(end.key, prefix.broadcast().value + 1);
  end.interval_end = true;
  elements.push_back(std::move(end));
}

NftElement port_element(const FirewallPort& port) {
  NftElement element;
  sys::nft_append_u8(element.key, protocol_number(port.protocol));
  if (!port.host_ip.is_unspecified()) sys::nft_append_be32(element.key, port.host_ip.value);
  sys::nft_append_be16(element.key, port.host_port);
  sys::nft_append_be32(element.data, port.container_ip.value);
  sys::nft_append_be16(element.data, port.container_port);
  element.comment = port.container_id;
  return element;
}

void add_sets(NftBatch& batch) {
  const auto name = sys::nft_concat({NftType::interface_name});
  const auto address = sys::nft_concat({NftType::ipv4_address});
  const auto target = sys::nft_concat({NftType::ipv4_address, NftType::inet_service});
  batch.add_set({.name = bridges, .key_type = name, .key_size = 16});
  batch.add_set({.name = internal, .key_type = name, .key_size = 16});
  batch.add_set(
      {.name = same, .key_type = sys::nft_concat({NftType::interface_name, NftType::interface_name}), .key_size = 32});
  batch.add_set({.name = masqueraded, .key_type = address, .key_size = 4, .interval = true});
  batch.add_set({.name = near, .key_type = address, .key_size = 4, .interval = true});
  batch.add_set({.name = ports_any,
                 .key_type = sys::nft_concat({NftType::inet_protocol, NftType::inet_service}),
                 .key_size = 8,
                 .data_type = target,
                 .data_size = 8});
  batch.add_set({.name = ports_address,
                 .key_type = sys::nft_concat({NftType::inet_protocol, NftType::ipv4_address, NftType::inet_service}),
                 .key_size = 12,
                 .data_type = target,
                 .data_size = 8});
}

// Continues the rule only for ct status with the destination translated.
void match_translated(NftBatch& batch) {
  batch.load_ct(NFT_CT_STATUS, 0);
  batch.mask(0, host_order<std::uint32_t>(IPS_DST_NAT));
  batch.compare(0, false, host_order<std::uint32_t>(0));
}

void match_link(NftBatch& batch, std::uint32_t meta_key, const char* set, bool inverted = false) {
  batch.load_meta(meta_key, 0);
  batch.lookup(set, 0, inverted);
}

// ip daddr 127.0.0.0/8
void match_loopback_destination(NftBatch& batch) {
  batch.load_network(ip_destination, 1, 0);
  batch.compare(0, true, host_order<std::uint8_t>(127));
}

void add_translation(NftBatch& batch) {
  batch.add_chain("publish");
  batch.begin_rule("publish");
  batch.load_meta(NFT_META_L4PROTO, 0);
  batch.load_network(ip_destination, 4, 1);
  batch.load_transport(port_destination, 2, 2);
  batch.lookup_map(ports_address, 0, 4);
  batch.dnat(firewall_family, 4, 5);
  batch.end_rule();
  batch.begin_rule("publish");
  batch.load_meta(NFT_META_L4PROTO, 0);
  batch.load_transport(port_destination, 2, 1);
  batch.lookup_map(ports_any, 0, 4);
  batch.dnat(firewall_family, 4, 5);
  batch.end_rule();

  batch.add_base_chain("raw", "filter", NftHook::prerouting, priority_raw);
  batch.begin_rule("raw");
  match_link(batch, NFT_META_IIFNAME, bridges);
  match_loopback_destination(batch);
  batch.verdict(NF_DROP);
  batch.end_rule();

  batch.add_base_chain("prerouting", "nat", NftHook::prerouting, priority_dnat);
  // From another host such a packet is a forgery: translated here it would pass the kernel's own check later.
  batch.begin_rule("prerouting");
  match_loopback_destination(batch);
  batch.verdict(NF_ACCEPT);
  batch.end_rule();
  batch.add_base_chain("output", "nat", NftHook::output, priority_dnat);
  for (const char* chain : {"prerouting", "output"}) {
    batch.begin_rule(chain);
    batch.load_fib_daddr_type(0);
    batch.compare(0, true, host_order<std::uint32_t>(RTN_LOCAL));
    batch.verdict(NFT_GOTO, "publish");
    batch.end_rule();
  }
}

void add_masquerade(NftBatch& batch) {
  batch.add_base_chain("postrouting", "nat", NftHook::postrouting, priority_snat);
  batch.begin_rule("postrouting");
  match_link(batch, NFT_META_OIFNAME, bridges, true);
  batch.load_network(ip_source, 4, 0);
  batch.lookup(masqueraded, 0);
  batch.masquerade();
  batch.end_rule();
  // To a published port, from a container or from the host's loopback: the answer must come back through the host.
  batch.begin_rule("postrouting");
  match_link(batch, NFT_META_OIFNAME, bridges);
  match_translated(batch);
  batch.load_network(ip_source, 4, 0);
  batch.lookup(near, 0);
  batch.masquerade();
  batch.end_rule();
}

void add_filter(NftBatch& batch) {
  const auto rule = [&batch](auto&& match, std::int32_t verdict) {
    batch.begin_rule("forward");
    match();
    batch.verdict(verdict);
    batch.end_rule();
  };
  batch.add_base_chain("forward", "filter", NftHook::forward, priority_filter);
  // State bits as the kernel's ct expression has them: 1 << (state % IP_CT_IS_REPLY + 1).
  constexpr std::uint32_t established = 1u << 1, related = 1u << 2;
  rule(
      [&] {
        batch.load_ct(NFT_CT_STATE, 0);
        batch.mask(0, host_order<std::uint32_t>(established | related));
        batch.compare(0, false, host_order<std::uint32_t>(0));
      },
      NF_ACCEPT);
  rule(
      [&] {
        batch.load_meta(NFT_META_IIFNAME, 0);
        batch.load_meta(NFT_META_OIFNAME, 4);
        batch.lookup(same, 0);
      },
      NF_ACCEPT);
  rule([&] { match_link(batch, NFT_META_IIFNAME, internal); }, NF_DROP);
  rule([&] { match_link(batch, NFT_META_OIFNAME, internal); }, NF_DROP);
  rule([&] { match_link(batch, NFT_META_OIFNAME, bridges, true); }, NF_ACCEPT);
  rule([&] { match_translated(batch); }, NF_ACCEPT);
  rule([] {}, NF_DROP);
}

static_assert(firewall_family == NFPROTO_IPV4);

}  // namespace

void define_table(NftBatch& batch) {
  batch.add_table();
  add_sets(batch);
  add_translation(batch);
  add_masquerade(batch);
  add_filter(batch);
  std::vector<NftElement> loopback;
  append_prefix(loopback, {{127u << 24}, 8});
  batch.add_elements(near, loopback);
}

void change_network(NftBatch& batch, const FirewallNetwork& network, bool add) {
  const auto change = [&](const char* set, const std::vector<NftElement>& elements) {
    add ? batch.add_elements(set, elements) : batch.delete_elements(set, elements);
  };
  change(bridges, {name_element(network.link)});
  if (network.internal) change(internal, {name_element(network.link)});
  if (network.inter_container) change(same, {pair_element(network.link)});
  std::vector<NftElement> prefix;
  append_prefix(prefix, network.prefix);
  change(near, prefix);
  if (network.masquerade && !network.internal) change(masqueraded, prefix);
}

void change_ports(NftBatch& batch, std::span<const FirewallPort> ports, bool add) {
  std::vector<NftElement> any, address;
  for (const FirewallPort& port : ports) (port.host_ip.is_unspecified() ? any : address).push_back(port_element(port));
  const auto change = [&](const char* map, const std::vector<NftElement>& elements) {
    if (elements.empty()) return;
    add ? batch.add_elements(map, elements) : batch.delete_elements(map, elements);
  };
  change(ports_any, any);
  change(ports_address, address);
}

}  // namespace corten::network
