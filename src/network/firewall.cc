#include "network/firewall.h"

#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>

#include "base/log.h"
#include "network/firewall_rules.h"

namespace corten::network {

using sys::NftBatch;

Error explain_firewall_failure(Error error) {
  switch (error.sys_errno()) {
    case EPROTONOSUPPORT:
    case EAFNOSUPPORT:
    case EOPNOTSUPP:
    case ENOENT:
      return std::move(error).wrap(
          "set up the firewall of container networks (needs nf_tables in the kernel, with nft_chain_nat, nft_masq, "
          "nft_ct and nft_fib_ipv4; a daemon with --bridge none does without)");
    default: return error;
  }
}

Result<> Firewall::open_socket() {
  if (!socket_) socket_ = TRY(sys::NetlinkSocket::open(NETLINK_NETFILTER));
  return {};
}

Result<> Firewall::program() {
  NftBatch batch(firewall_family, table_);
  // Deleting needs it to exist: added first, which changes nothing if it does.
  batch.add_table();
  batch.delete_table();
  define_table(batch);
  for (const auto& [link, network] : networks_) change_network(batch, network, true);
  std::vector<FirewallPort> ports;
  ports.reserve(ports_.size());
  for (const auto& [key, port] : ports_) ports.push_back(port);
  change_ports(batch, ports, true);
  auto result = open_socket();
  if (result) result = batch.commit(socket_);
  if (!result) return std::unexpected(explain_firewall_failure(std::move(result).error()));
  programmed_ = true;
  return {};
}

Result<> Firewall::delete_table() {
  programmed_ = false;
  CHECK(open_socket());
  NftBatch batch(firewall_family, table_);
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
  NftBatch batch(firewall_family, table_);
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
  NftBatch batch(firewall_family, table_);
  change_network(batch, network, false);
  return commit_or_program(batch);
}

Result<> Firewall::add_ports(std::span<const FirewallPort> ports) {
  if (ports.empty()) return {};
  const MutexLock lock(mutex_);
  for (const FirewallPort& port : ports) ports_[{port.protocol, port.host_ip, port.host_port}] = port;
  if (!programmed_) return {};
  NftBatch batch(firewall_family, table_);
  change_ports(batch, ports, true);
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
  NftBatch batch(firewall_family, table_);
  change_ports(batch, ports, false);
  return commit_or_program(batch);
}

Result<bool> Firewall::restore_if_gone() {
  const MutexLock lock(mutex_);
  if (!programmed_) return false;
  const auto tables = TRY(sys::list_nft_tables(socket_, firewall_family));
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
