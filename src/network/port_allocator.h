// Host ports: which are given to whom, each held by a bound socket so that no other process can take it, nor we what
// another process has. Thread-safe.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/mutex.h"
#include "base/unique_fd.h"
#include "network/network.h"

namespace corten::network {

// A socket bound to protocol, address and port. IPv4: never read; plain bind first; if only connections in TIME_WAIT
// stand in the way, a listening socket, which the kernel allows beside them. TCP on IPv6: listening (see relay.h).
// errno in the error: EADDRINUSE (somebody has it), EADDRNOTAVAIL (not an address of this host), EACCES. A protocol the
// kernel does not have (SCTP) gives an empty descriptor.
Result<UniqueFd> reserve_port(Protocol protocol, const IpAddress& address, std::uint16_t port);

struct PortOwner {
  std::string_view endpoint_id;
  std::string_view container_name;
  Ipv4 container_ip;
};

class PortAllocator {
 public:
  // `ipv6`: whether ports without a host address are published on [::] too. `default_binding` replaces an empty host
  // address.
  explicit PortAllocator(bool ipv6) : ipv6_(ipv6) {}

  // All or none, in the order of the requests; with Docker's error texts. Kinds: invalid (host address that does not
  // parse), internal (taken: Docker answers 500).
  Result<std::vector<PublishedPort>> take(std::span<const PortRequest> requests, Ipv4 default_binding,
                                          const PortOwner& owner);
  // The same ports again, after a restart of the daemon. Those that somebody else has by now are left out.
  std::vector<PublishedPort> take_again(std::span<const PublishedPort> ports);
  void give(std::span<const PublishedPort> ports);
  // Hands out the socket that holds the port; whoever has it now keeps it open until the port is given back.
  UniqueFd lend_socket(const PublishedPort& port);

 private:
  struct Holder {
    IpAddress address;
    UniqueFd socket;
  };
  using Slot = std::pair<Protocol, std::uint16_t>;

  Result<std::vector<IpAddress>> addresses_of(const PortRequest& request, Ipv4 default_binding) const;
  bool is_ours(Protocol protocol, const IpAddress& address, std::uint16_t port) const REQUIRES(mutex_);
  // On all of `addresses`, or on none.
  Result<> take_one(const PortRequest& request, std::span<const IpAddress> addresses, std::uint16_t port,
                    const PortOwner& owner, std::vector<PublishedPort>& taken) REQUIRES(mutex_);
  Result<> take_free(const PortRequest& request, std::span<const IpAddress> addresses, const PortOwner& owner,
                     std::vector<PublishedPort>& taken) REQUIRES(mutex_);
  void give_locked(const PublishedPort& port) REQUIRES(mutex_);

  const bool ipv6_;
  Mutex mutex_;
  std::map<Slot, std::vector<Holder>> holders_ GUARDED_BY(mutex_);
  std::map<Protocol, std::uint16_t> last_ GUARDED_BY(mutex_);  // the ephemeral port given out last
};

}  // namespace corten::network
