#include "http/socket_address.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>

#include <array>
#include <cstddef>
#include <cstring>
#include <memory>

namespace corten::http {

Result<UnixAddress> unix_address(const std::string& path) {
  UnixAddress result;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::string usable = path;
  if (path.empty() || path.contains('\0')) return fail(ErrorKind::invalid, "not a path of a unix socket: \"{}\"", path);
  if (usable.size() >= sizeof address.sun_path) {
    const auto slash = path.rfind('/');
    const std::string directory = slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
    result.directory = UniqueFd(::open(directory.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!result.directory) return sys_fail("open {}", directory);
    usable = fmt::format("/proc/self/fd/{}/{}", result.directory.get(), path.substr(slash + 1));
    if (usable.size() >= sizeof address.sun_path)
      return fail(ErrorKind::invalid, "the name of the unix socket {} is too long", path);
  }
  std::memcpy(address.sun_path, usable.c_str(), usable.size() + 1);
  result.address.length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + usable.size() + 1);
  std::memcpy(&result.address.storage, &address, sizeof address);
  return result;
}

Result<std::vector<SocketAddress>> resolve(const std::string& host, std::uint16_t port, bool passive) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICSERV | (passive ? AI_PASSIVE : AI_ADDRCONFIG);
  std::string name = host;
  if (name.size() > 2 && name.front() == '[' && name.back() == ']') name = name.substr(1, name.size() - 2);
  addrinfo* list = nullptr;
  const int error = ::getaddrinfo(name.empty() ? nullptr : name.c_str(), std::to_string(port).c_str(), &hints, &list);
  if (error != 0) return fail(ErrorKind::unavailable, "look up {}: {}", host, ::gai_strerror(error));
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> own(list, ::freeaddrinfo);
  std::vector<SocketAddress> addresses;
  for (const addrinfo* entry = list; entry; entry = entry->ai_next) {
    SocketAddress address;
    std::memcpy(&address.storage, entry->ai_addr, entry->ai_addrlen);
    address.length = entry->ai_addrlen;
    addresses.push_back(address);
  }
  if (addresses.empty()) return fail(ErrorKind::unavailable, "look up {}: no address", host);
  return addresses;
}

std::string numeric_host(const SocketAddress& address) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (address.family() == AF_INET)
    ::inet_ntop(AF_INET, &reinterpret_cast<const sockaddr_in*>(&address.storage)->sin_addr, text.data(), text.size());
  if (address.family() == AF_INET6)
    ::inet_ntop(AF_INET6, &reinterpret_cast<const sockaddr_in6*>(&address.storage)->sin6_addr, text.data(),
                text.size());
  return text.data();
}

std::string format_address(const SocketAddress& address) {
  if (address.family() == AF_INET) {
    const auto* in = reinterpret_cast<const sockaddr_in*>(&address.storage);
    return fmt::format("{}:{}", numeric_host(address), ntohs(in->sin_port));
  }
  if (address.family() == AF_INET6) {
    const auto* in = reinterpret_cast<const sockaddr_in6*>(&address.storage);
    return fmt::format("[{}]:{}", numeric_host(address), ntohs(in->sin6_port));
  }
  return {};
}

Result<SocketAddress> local_address(int fd) {
  SocketAddress address;
  address.length = sizeof address.storage;
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&address.storage), &address.length) != 0)
    return sys_fail("get the address of a socket");
  return address;
}

Peer describe_peer(int fd, Transport transport) {
  Peer peer{.transport = transport};
  if (transport == Transport::unix_socket) {
    ucred credentials{};
    socklen_t length = sizeof credentials;
    if (::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &length) == 0) {
      peer.pid = credentials.pid;
      peer.uid = credentials.uid;
      peer.gid = credentials.gid;
    }
    return peer;
  }
  SocketAddress address;
  address.length = sizeof address.storage;
  if (::getpeername(fd, reinterpret_cast<sockaddr*>(&address.storage), &address.length) == 0)
    peer.address = format_address(address);
  return peer;
}

}  // namespace corten::http
