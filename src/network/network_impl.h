// A bridge network: the one implementation of Network. Internal to the module.
#pragma once

#include <atomic>
#include <memory>
#include <set>

#include "base/mutex.h"
#include "network/bridge.h"
#include "network/endpoint_pool.h"
#include "network/host.h"
#include "network/ipam.h"
#include "network/network.h"

namespace corten::network {

class NetworkImpl final : public Network, public std::enable_shared_from_this<NetworkImpl> {
 public:
  NetworkImpl(std::shared_ptr<Host> host, NetworkConfig config, const Bridge& bridge);
  ~NetworkImpl() override;

  const NetworkConfig& config() const override { return config_; }
  Ipv4Prefix prefix() const override { return prefix_; }
  Result<Endpoint> create(const EndpointSpec& spec) override;
  Result<Endpoint> attach(int namespace_fd, const EndpointSpec& spec, const std::string& interface_name,
                          bool default_route) override;
  Result<Endpoint> adopt(const EndpointInfo& info) override;

  // For Driver.
  void start_pool() { pool_.start(); }
  void stop_pool() { pool_.stop(); }
  std::size_t endpoints() const { return endpoints_; }
  // Host-side links of all endpoints, those on the shelf included.
  std::set<std::string> links() const;
  FirewallNetwork firewall_network() const;

  // For Endpoint.
  Result<std::vector<PublishedPort>> publish(EndpointInfo& info, std::span<const PortRequest> requests);
  Result<> unpublish(EndpointInfo& info, std::span<const PublishedPort> ports);
  void end(EndpointInfo& info);
  void forget() { --endpoints_; }

 private:
  Endpoint make_endpoint(const EndpointSpec& spec, Ipv4 address, const Mac& mac, std::string host_link);
  Result<Ipv4> take_address(const std::optional<Ipv4>& wanted);
  Result<PreparedEndpoint> take_prepared(const EndpointSpec& spec);
  Result<PreparedEndpoint> prepare_with(Ipv4 address);
  // On the worker's thread: an address that is free or on the shelf.
  Result<Ipv4> claim_address(const std::optional<Ipv4>& wanted);
  // On the worker's thread: a namespace, or an interface in one, on this network.
  Result<PreparedEndpoint> prepare(Ipv4 address, const Mac& mac);
  Result<PreparedEndpoint> prepare_next();
  Result<std::string> connect(int namespace_fd, sys::NetlinkSocket& inside, const std::string& interface_name,
                              Ipv4 address, const Mac& mac, bool default_route);
  // Makes the veth, one end on the bridge and the other inside, down; gives the name of the host's end.
  Result<std::string> make_link(int namespace_fd, const std::string& interface_name, const Mac& mac);
  // All of it or nothing.
  Result<> try_link(const std::string& name, int namespace_fd, const std::string& interface_name, const Mac& mac);
  bool bridge_is_gone();
  // After somebody deleted the bridge: makes it again and attaches all links.
  Result<> repair_bridge();
  Result<> change_mac(PreparedEndpoint& prepared, const Mac& mac);
  void discard(PreparedEndpoint prepared);
  // Waits a moment until what is sent to the link arrives.
  void await_running(const std::string& name);
  void forget_link(const std::string& name);
  void delete_link(const std::string& name);
  // Whether neighbours may remember another MAC for the address than the one it gets now; keeps what is needed to tell.
  bool must_announce(Ipv4 address, const Mac& mac);
  // Makes the kernel and the relay carry traffic to ports that are already held.
  Result<> connect_ports(const EndpointInfo& info, std::span<const PublishedPort> ports);
  std::vector<FirewallPort> firewall_ports(const EndpointInfo& info, std::span<const PublishedPort> ports) const;

  const std::shared_ptr<Host> host_;
  const NetworkConfig config_;
  const Ipv4Prefix prefix_;  // with the bridge's own address
  int bridge_index_;         // used on the worker's thread only
  Ipam ipam_;
  std::atomic<std::size_t> endpoints_ = 0;
  mutable Mutex mutex_;
  std::set<std::string> links_ GUARDED_BY(mutex_);
  // Addresses whose latest user had a MAC of its own choice: all others' follows from the address.
  std::set<Ipv4> own_macs_ GUARDED_BY(mutex_);
  EndpointPool pool_;  // last: its tasks use the above
};

}  // namespace corten::network
