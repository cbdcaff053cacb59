// One nftables table per daemon: address translation of published ports, masquerading, and what may be forwarded to and
// from the bridges. The table only ever drops or translates: an accept in it decides nothing for other tables, so the
// host's own firewall keeps its say.
//
//   raw        prerouting, raw      no packet from a bridge to 127.0.0.0/8 (the bridges allow it for published ports)
//   prerouting nat, dstnat          local destination other than 127.0.0.0/8: goto publish
//   output     nat, dstnat          local destination: goto publish
//   publish                         protocol . address . port, then protocol . port, looked up in a map: one element a
//                                   port, whatever their number
//   postrouting nat, srcnat         containers to the world; loopback and hairpin to published ports
//   forward    filter               same bridge, out of a bridge, or translated by a published port; else to no bridge
//
// The state is kept here, too, so that the table can be programmed again in one transaction: at the daemon's start, and
// when somebody flushed it. Thread-safe.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "base/error.h"
#include "base/mutex.h"
#include "network/address.h"
#include "network/network.h"
#include "sys/netlink.h"
#include "sys/nftables.h"

namespace corten::network {

struct FirewallNetwork {
  std::string link;
  Ipv4Prefix prefix;
  bool masquerade = true;
  bool inter_container = true;
  bool internal = false;
  bool operator==(const FirewallNetwork&) const = default;
};

// An IPv4 published port: host side to container side.
struct FirewallPort {
  Protocol protocol = Protocol::tcp;
  Ipv4 host_ip;  // 0.0.0.0: any local address
  std::uint16_t host_port = 0;
  Ipv4 container_ip;
  std::uint16_t container_port = 0;
  std::string container_id;
};

// What a kernel without nf_tables, or without a part of it, says by number: in words, and what to do.
Error explain_firewall_failure(Error error);

class Firewall {
 public:
  explicit Firewall(std::string table) : table_(std::move(table)) {}
  ~Firewall();

  const std::string& table() const { return table_; }

  // Until start() these only record.
  Result<> add_network(const FirewallNetwork& network);
  Result<> remove_network(const std::string& link);
  // All or none.
  Result<> add_ports(std::span<const FirewallPort> ports);
  Result<> remove_ports(std::span<const FirewallPort> ports);

  // Replaces the whole table by what is recorded, in one transaction: there is no moment without it. While there is no
  // network there is no table either, and a kernel without nf_tables will do.
  Result<> start();
  // Programs the table again if it is gone. True when it was.
  Result<bool> restore_if_gone();
  // Watches for its being deleted by others ("nft flush ruleset", a reload of the host's firewall) and restores it at
  // once. On a thread of its own until the firewall ends; does nothing while there is no table, or when it runs
  // already.
  Result<> watch();
  // Deletes the table.
  Result<> remove_all();

 private:
  struct Key {
    Protocol protocol;
    Ipv4 host_ip;
    std::uint16_t host_port;
    auto operator<=>(const Key&) const = default;
  };

  void watch_events(const std::stop_token& stop);
  Result<> open_socket() REQUIRES(mutex_);
  Result<> program() REQUIRES(mutex_);
  Result<> delete_table() REQUIRES(mutex_);
  // Commits; if the table is gone or is not what is recorded here, programs everything instead.
  Result<> commit_or_program(sys::NftBatch& batch) REQUIRES(mutex_);

  const std::string table_;
  Mutex mutex_;
  sys::NetlinkSocket socket_ GUARDED_BY(mutex_);
  bool started_ GUARDED_BY(mutex_) = false;
  bool programmed_ GUARDED_BY(mutex_) = false;
  std::map<std::string, FirewallNetwork> networks_ GUARDED_BY(mutex_);
  std::map<Key, FirewallPort> ports_ GUARDED_BY(mutex_);
  // Set up before the watcher starts, then its own.
  sys::NetlinkSocket events_;
  UniqueFd wake_;
  std::jthread watcher_;  // last: it uses all of the above
};

}  // namespace corten::network
