#include "network/firewall.h"

#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>

#include "base/log.h"

namespace corten::network {
namespace {

using sys::Bytes;
using sys::NftBatch;
using sys::NftElement;
using sys::NftHook;
using sys::NftType;

constexpr std::uint8_t family = NFPROTO_IPV4;
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

// Splits ports over the two maps and calls change(map, elements) for each that gets some.
template <class Change>
void change_ports(std::span<const FirewallPort> ports, Change&& change) {
  std::vector<NftElement> any, address;
  for (const FirewallPort& port : ports) (port.host_ip.is_unspecified() ? any : address).push_back(port_element(port));
  if (!any.empty()) change(ports_any, any);
  if (!address.empty()) change(ports_address, address);
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
  batch.dnat(family, 4, 5);
  batch.end_rule();
  batch.begin_rule("publish");
  batch.load_meta(NFT_META_L4PROTO, 0);
  batch.load_transport(port_destination, 2, 1);
  batch.lookup_map(ports_any, 0, 4);
  batch.dnat(family, 4, 5);
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

}  // namespace

Error explain_firewall_failure(Error error) {
  switch (error.sys_errno()) {
    case EPROTONOSUPPORT:
    case EAFNOSUPPORT:
    case EOPNOTSUPP:
    case ENOENT:
      return std::move(error).wrap(
          "set up the firewall of container networks (needs the kernel's nf_tables with nft_chain_nat, nft_masq, "
          "nft_ct "
          "and nft_fib_ipv4; a daemon with --bridge none does without)");
    default: return error;
  }
}

Result<> Firewall::open_socket() {
  if (!socket_) socket_ = TRY(sys::NetlinkSocket::open(NETLINK_NETFILTER));
  return {};
}

Result<> Firewall::program() {
  NftBatch batch(family, table_);
  // Deleting needs it to exist: added first, which changes nothing if it does.
  batch.add_table();
  batch.delete_table();
  batch.add_table();
  add_sets(batch);
  add_translation(batch);
  add_masquerade(batch);
  add_filter(batch);
  std::vector<NftElement> loopback;
  append_prefix(loopback, {{127u << 24}, 8});
  batch.add_elements(near, loopback);
  for (const auto& [link, network] : networks_) change_network(batch, network, true);
  std::vector<FirewallPort> ports;
  ports.reserve(ports_.size());
  for (const auto& [key, port] : ports_) ports.push_back(port);
  change_ports(ports, [&](const char* map, const auto& elements) { batch.add_elements(map, elements); });
  auto result = open_socket();
  if (result) result = batch.commit(socket_);
  if (!result) return std::unexpected(explain_firewall_failure(std::move(result).error()));
  programmed_ = true;
  return {};
}

Result<> Firewall::delete_table() {
  programmed_ = false;
  CHECK(open_socket());
  NftBatch batch(family, table_);
  batch.add_table();
  batch.delete_table();
  return batch.commit(socket_);
}

Result<> Firewall::commit_or_program(NftBatch& batch) {
  auto result = batch.commit(socket_);
  if (result || (result.error().sys_errno() != ENOENT && result.error().sys_errno() != EEXIST)) return result;
  log::warn("nftables table {} was changed by somebody else; programming it again", table_);
  return program();
}

Result<> Firewall::start() {
  const MutexLock lock(mutex_);
  if (!networks_.empty()) {
    CHECK(program());
  } else if (const auto result = delete_table(); !result) {
    log::debug("no nftables table of an earlier daemon to delete: {}", result.error().text());
  }
  started_ = true;
  return {};
}

Result<> Firewall::add_network(const FirewallNetwork& network) {
  const MutexLock lock(mutex_);
  networks_[network.link] = network;
  if (!started_) return {};
  NftBatch batch(family, table_);
  change_network(batch, network, true);
  auto result = programmed_ ? commit_or_program(batch) : program();
  if (!result) networks_.erase(network.link);
  return result;
}

Result<> Firewall::remove_network(const std::string& link) {
  const MutexLock lock(mutex_);
  const auto found = networks_.find(link);
  if (found == networks_.end()) return {};
  const FirewallNetwork network = found->second;
  networks_.erase(found);
  if (!programmed_) return {};
  NftBatch batch(family, table_);
  change_network(batch, network, false);
  return commit_or_program(batch);
}

Result<> Firewall::add_ports(std::span<const FirewallPort> ports) {
  if (ports.empty()) return {};
  const MutexLock lock(mutex_);
  for (const FirewallPort& port : ports) ports_[{port.protocol, port.host_ip, port.host_port}] = port;
  if (!programmed_) return {};
  NftBatch batch(family, table_);
  change_ports(ports, [&](const char* map, const auto& elements) { batch.add_elements(map, elements); });
  auto result = commit_or_program(batch);
  if (!result)
    for (const FirewallPort& port : ports) ports_.erase({port.protocol, port.host_ip, port.host_port});
  return result;
}

Result<> Firewall::remove_ports(std::span<const FirewallPort> ports) {
  if (ports.empty()) return {};
  const MutexLock lock(mutex_);
  for (const FirewallPort& port : ports) ports_.erase({port.protocol, port.host_ip, port.host_port});
  if (!programmed_) return {};
  NftBatch batch(family, table_);
  change_ports(ports, [&](const char* map, const auto& elements) { batch.delete_elements(map, elements); });
  return commit_or_program(batch);
}

Result<bool> Firewall::restore_if_gone() {
  const MutexLock lock(mutex_);
  if (!programmed_) return false;
  const auto tables = TRY(sys::list_nft_tables(socket_, family));
  if (std::ranges::find(tables, table_) != tables.end()) return false;
  CHECK(program());
  return true;
}

Result<> Firewall::watch() {
  {
    const MutexLock lock(mutex_);
    if (!programmed_ || watcher_.joinable()) return {};
  }
  events_ = TRY(sys::NetlinkSocket::open(NETLINK_NETFILTER));
  CHECK(events_.subscribe(NFNLGRP_NFTABLES));
  wake_ = UniqueFd(::eventfd(0, EFD_CLOEXEC));
  if (!wake_) return sys_fail("watch nftables for changes");
  watcher_ = std::jthread([this](const std::stop_token& stop) { watch_events(stop); });
  return {};
}

Firewall::~Firewall() {
  if (!watcher_.joinable()) return;
  watcher_.request_stop();
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = ::write(wake_.get(), &one, sizeof one);
}

void Firewall::watch_events(const std::stop_token& stop) {
  while (!stop.stop_requested()) {
    pollfd wait[] = {{.fd = events_.fd(), .events = POLLIN}, {.fd = wake_.get(), .events = POLLIN}};
    if (::poll(wait, 2, -1) < 0 && errno != EINTR) return;
    bool deleted = false;
    const auto read = events_.read_events([&](const sys::NetlinkAnswer& event) {
      if (event.type == (NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_DELTABLE)) deleted = true;
    });
    // When events were lost, one of them may have been ours.
    if (read && !deleted) continue;
    const auto restored = restore_if_gone();
    if (!restored)
      log::warn("{}", restored.error().text());
    else if (*restored)
      log::warn("nftables table {} was deleted by somebody else; it is back", table_);
  }
}

Result<> Firewall::remove_all() {
  const MutexLock lock(mutex_);
  started_ = false;
  networks_.clear();
  ports_.clear();
  return delete_table();
}

}  // namespace corten::network
