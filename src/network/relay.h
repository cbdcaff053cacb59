// Carries IPv6 clients of published ports to containers that speak IPv4 only.
//
// IPv4 ports need nobody: the kernel translates them. It has no translation from IPv6 to IPv4, so a connection to
// [::1]:8080 (which is what "localhost" often means) ends here and is continued over IPv4. One thread for all ports,
// started with the first one. It lives in the daemon: while no daemon runs, IPv6 clients are refused and fall back to
// IPv4. The container sees the bridge's address as the client's, as with Docker's proxy.
#pragma once

#include <memory>

#include "base/error.h"
#include "base/mutex.h"
#include "base/unique_fd.h"
#include "network/address.h"
#include "network/network.h"

namespace corten::network {

class RelayLoop;

// Thread-safe. Must be made in the host's network namespace.
class Relay {
 public:
  Relay();
  ~Relay();

  // `socket`: a non-blocking, listening (TCP) or bound (UDP) IPv6 socket for the port; other protocols are kept and not
  // served. Kind exhausted when the process has no descriptors left.
  Result<> add(const PublishedPort& port, UniqueFd socket, Ipv4 container);
  // Closes the port and what goes through it.
  void remove(const PublishedPort& port);

 private:
  Mutex mutex_;
  std::unique_ptr<RelayLoop> loop_ GUARDED_BY(mutex_);
};

}  // namespace corten::network
