// Container networks: bridges on the host, and endpoints (a network namespace with one interface) on them.
//
// The order of a daemon's life:
//   auto driver = TRY(Driver::open(config));                    // nothing touched on the host yet
//   auto bridge = TRY(driver->add_network(network_config));     // bridge device made or found
//   for each running container: bridge->adopt(record) ...       // only records: addresses, ports, reservations
//   CHECK(driver->start());                                     // one nftables transaction, pool filled from now on
//   Endpoint e = TRY(bridge->create(spec));                     // from the pool: well under a millisecond
//   shim gets e.namespace_fd(); when it has started, e.release_namespace();
//   ~Endpoint (or close())                                      // ports gone at once, address free
// The kernel collects the namespace and its veth when the processes in it are gone.
//
// A container's namespace is never pinned by a file. Descriptors and processes keep it, so a daemon that is killed
// cannot leave one behind. Host-side links are named after the daemon's instance (see Driver::link_prefix).
//
// Driver and Network may be used from any number of threads. One Endpoint belongs to one thread at a time.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/unique_fd.h"
#include "network/address.h"

namespace corten::network {

enum class Protocol : std::uint8_t { tcp, udp, sctp };
std::string_view to_string(Protocol protocol);           // "tcp", "udp", "sctp"
Result<Protocol> parse_protocol(std::string_view text);  // kind invalid: "invalid proto: x"

// One container port to be published on the host.
struct PortRequest {
  Protocol protocol = Protocol::tcp;
  std::uint16_t container_port = 0;
  // Empty: the network's default binding, which is all IPv4 addresses and, where the host has IPv6, all IPv6 ones.
  std::string host_ip;
  // 0: any free port of the host's ephemeral range.
  std::uint16_t host_port = 0;
  // When not 0: the first free port of host_port..host_port_end.
  std::uint16_t host_port_end = 0;
};

// A port as it is published: one per host address family ("0.0.0.0:8080" and "[::]:8080" are two).
struct PublishedPort {
  Protocol protocol = Protocol::tcp;
  std::uint16_t container_port = 0;
  IpAddress host_ip;
  std::uint16_t host_port = 0;
  bool operator==(const PublishedPort&) const = default;
};

struct NetworkConfig {
  std::string id;                // 64 hexadecimal digits
  std::string name;              // "bridge" for the default one
  std::string link = "corten0";  // the bridge device, at most 15 bytes
  // The bridge's own address and the network's prefix. Unset: the device's present address if it exists, else the
  // first of default_pools that overlaps no route of the host.
  std::optional<Ipv4Prefix> address;
  // Container addresses come from this part of the prefix (--fixed-cidr, --ip-range). Unset: all of it.
  std::optional<Ipv4Prefix> ip_range;
  std::vector<Ipv4> reserved;  // never given out (--aux-address)
  std::uint32_t mtu = 1500;
  bool masquerade = true;
  bool inter_container = true;  // false: containers of this network reach only the host and the world (--icc=false)
  bool internal = false;        // no way out and no published ports
  Ipv4 default_binding;         // host address of ports published without one (--ip); 0.0.0.0: all of the host's
  // Prepared endpoints kept ready; 0 makes each on demand.
  unsigned pool_size = 6;
};

struct EndpointSpec {
  std::string container_id;     // 64 hexadecimal digits; marks nftables elements
  std::string container_name;   // for error texts only
  std::optional<Ipv4> address;  // a specific address; kind conflict when taken, invalid when outside the network
  std::optional<Mac> mac;       // unset: mac_for(address)
  std::vector<PortRequest> ports;
};

// What is known of an endpoint: plain data which the engine stores in the container's record and gives to adopt().
struct EndpointInfo {
  std::string endpoint_id;  // 64 hexadecimal digits
  std::string network_id;
  std::string container_id;
  std::string container_name;
  Ipv4 address;
  std::uint8_t prefix_length = 0;
  Ipv4 gateway;
  Mac mac;
  std::string host_link;                // on the host: "ct<instance>…"
  std::string container_link = "eth0";  // inside
  std::vector<PublishedPort> ports;     // as published, in the order of the requests
};

// Counters of a container's interface, as seen from inside.
struct LinkStatistics {
  std::uint64_t rx_bytes = 0, rx_packets = 0, rx_errors = 0, rx_dropped = 0;
  std::uint64_t tx_bytes = 0, tx_packets = 0, tx_errors = 0, tx_dropped = 0;
};

class NetworkImpl;
class DriverImpl;

// Owner of a container's place on a network: its address, published ports and, until released, its namespace.
class [[nodiscard]] Endpoint {
 public:
  Endpoint() = default;
  Endpoint(Endpoint&&) noexcept;
  Endpoint& operator=(Endpoint&&) noexcept;
  ~Endpoint();

  explicit operator bool() const { return network_ != nullptr; }
  const EndpointInfo& info() const { return info_; }

  // The namespace with eth0 and lo up, -1 after release_namespace() and for adopted endpoints. Borrowed.
  int namespace_fd() const { return namespace_.get(); }
  // To be called when a process holds the namespace: from then on it lives as long as the processes in it.
  void release_namespace() { namespace_.reset(); }

  // Publishes more ports: all or none. The answer has one entry per request and host address family; info().ports
  // grows by it. Kinds: internal (port taken, with Docker's text, and as Docker answers it), invalid.
  Result<std::vector<PublishedPort>> publish(std::span<const PortRequest> requests);
  // Takes back those ports of this endpoint that match; others are ignored.
  Result<> unpublish(std::span<const PublishedPort> ports);

  // Ends the endpoint now: ports unpublished, address free, namespace descriptor closed. Also done by the destructor.
  void close();
  // Forgets the endpoint and leaves everything on the host as it is: the daemon stops, the container goes on.
  void detach();

 private:
  friend class NetworkImpl;
  std::shared_ptr<NetworkImpl> network_;
  EndpointInfo info_;
  UniqueFd namespace_;
};

class Network {
 public:
  virtual ~Network() = default;
  virtual const NetworkConfig& config() const = 0;
  // The prefix in use, with the bridge's own address (the containers' gateway).
  virtual Ipv4Prefix prefix() const = 0;

  // A namespace with an interface on this network, ready for processes; with its ports published.
  virtual Result<Endpoint> create(const EndpointSpec& spec) = 0;
  // The same with an existing namespace (user namespaces, a second network of a container): adds `interface_name`
  // there. A default route is set when `default_route`. The endpoint does not keep the descriptor.
  virtual Result<Endpoint> attach(int namespace_fd, const EndpointSpec& spec, const std::string& interface_name,
                                  bool default_route) = 0;
  // Takes over a running container's endpoint from an earlier daemon: the address is reserved again, its ports are
  // published again (those that another process took in between are dropped from info().ports with a warning).
  virtual Result<Endpoint> adopt(const EndpointInfo& info) = 0;
};

struct DriverConfig {
  // What tells this daemon from others on the host: its exec root. Table and link names are derived from it.
  std::string instance;
  // Pools that a network without an address takes its prefix from; empty: 172.17.0.0/16 … 172.31.0.0/16,
  // then 192.168.0.0/20 ….
  std::vector<Ipv4Prefix> default_pools;
  bool enable_ip_forward = true;
};

class Driver {
 public:
  virtual ~Driver() = default;
  // Opens netlink sockets in the caller's network namespace, which is "the host" from now on.
  static Result<std::shared_ptr<Driver>> open(DriverConfig config);

  // Makes the bridge or takes over an existing one of that name. Kind conflict when the name, id, device or prefix
  // is in use by another network, or the device by another daemon.
  virtual Result<std::shared_ptr<Network>> add_network(NetworkConfig config) = 0;
  // Deletes the bridge. Kind conflict while endpoints exist.
  virtual Result<> remove_network(std::string_view id) = 0;

  // Programs nftables for all networks and adopted endpoints in one transaction, replacing what an earlier daemon of
  // this instance left, and starts filling the pools. Orphan links are removed two seconds later, in the background.
  virtual Result<> start() = 0;

  // A namespace with nothing but lo, up: network mode "none".
  virtual Result<UniqueFd> make_namespace() = 0;

  // Counters by EndpointInfo::host_link. Kind not_found when the link is gone.
  virtual Result<LinkStatistics> statistics(const std::string& host_link) = 0;

  // First bytes of all links of this instance's endpoints, and the name of its nftables table.
  virtual std::string link_prefix() const = 0;
  virtual std::string table_name() const = 0;

  // Deletes everything of this instance on the host: table, links, bridges that it made. For uninstalling and tests.
  virtual Result<> remove_all() = 0;
};

}  // namespace corten::network
