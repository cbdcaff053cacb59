// Internal: addresses of sockets, unix paths of any length included.
#pragma once

#include <sys/socket.h>
#include <sys/un.h>

#include <cstdint>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/unique_fd.h"
#include "http/request.h"

namespace corten::http {

struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t length = 0;
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
  int family() const { return storage.ss_family; }
};

// A path that does not fit into sockaddr_un is reached through its directory's descriptor, which must stay open for as
// long as the address is used.
struct UnixAddress {
  SocketAddress address;
  UniqueFd directory;
};
Result<UnixAddress> unix_address(const std::string& path);

// All stream addresses of a host, in the resolver's order. `passive`: to listen on; an empty host is then every
// address.
Result<std::vector<SocketAddress>> resolve(const std::string& host, std::uint16_t port, bool passive);

// "10.0.0.7:80" or "[::1]:80".
std::string format_address(const SocketAddress& address);
// "10.0.0.7" or "::1".
std::string numeric_host(const SocketAddress& address);
Result<SocketAddress> local_address(int fd);

// Who is at the other end.
Peer describe_peer(int fd, Transport transport);

}  // namespace corten::http
