#include "http/listener.h"

#include <fcntl.h>
#include <netinet/in.h>

#include <cerrno>
#include <chrono>
#include <thread>

#include "http/socket_address.h"

namespace corten::http {
namespace {

Result<UniqueFd> new_socket(int family) {
  UniqueFd fd(::socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return sys_fail("make a socket");
  return fd;
}

// A socket file that nobody serves is left over from a daemon that was killed.
Result<> remove_stale_socket(const std::string& path, const SocketAddress& address) {
  struct stat status{};
  if (::lstat(path.c_str(), &status) != 0) {
    if (errno == ENOENT) return {};
    return sys_fail("look at {}", path);
  }
  if (!S_ISSOCK(status.st_mode))
    return fail(ErrorKind::conflict, "listen on {}: there is a file that is no socket", path);
  // A daemon that was killed while it started a program has left a copy of its descriptors there until that program's
  // exec, which may take a moment on a busy machine.
  for (int tries = 0;; ++tries) {
    const auto probe = TRY(new_socket(AF_UNIX));
    if (::connect(probe.get(), address.get(), address.length) != 0 && errno != EAGAIN) break;
    if (tries == 20) return fail(ErrorKind::conflict, "listen on {}: another process is serving this socket", path);
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) return sys_fail("remove the stale socket {}", path);
  return {};
}

Result<UniqueFd> listen_on(const SocketAddress& address) {
  auto fd = TRY(new_socket(address.family()));
  const int on = 1;
  ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  // Each address of a host gets a socket of its own, so ours must not take the IPv4 one along, except for "every
  // address".
  if (address.family() == AF_INET6) {
    const auto* in = reinterpret_cast<const sockaddr_in6*>(&address.storage);
    const int only_v6 = IN6_IS_ADDR_UNSPECIFIED(&in->sin6_addr) ? 0 : 1;
    ::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &only_v6, sizeof only_v6);
  }
  if (::bind(fd.get(), address.get(), address.length) != 0 || ::listen(fd.get(), SOMAXCONN) != 0)
    return sys_fail("listen on {}", format_address(address));
  return fd;
}

// [::] accepts IPv4 as well; a machine without IPv6 has only 0.0.0.0.
Result<UniqueFd> listen_everywhere(std::uint16_t port) {
  auto fd = listen_on(TRY(resolve("::", port, true)).front());
  if (fd) return fd;
  return listen_on(TRY(resolve("0.0.0.0", port, true)).front());
}

}  // namespace

Result<Listener> Listener::on_unix(const UnixEndpoint& endpoint) {
  const auto address = TRY(unix_address(endpoint.path));
  CHECK(remove_stale_socket(endpoint.path, address.address));
  Listener listener;
  listener.fd_ = TRY(new_socket(AF_UNIX));
  // The file appears with the mode of the socket's own inode: nobody gets in between bind and chmod.
  ::fchmod(listener.fd_.get(), 0);
  if (::bind(listener.fd_.get(), address.address.get(), address.address.length) != 0)
    return sys_fail("listen on {}", endpoint.path);
  listener.unlink_path_ = endpoint.path;
  struct stat status{};
  if (::lstat(endpoint.path.c_str(), &status) != 0) return sys_fail("look at {}", endpoint.path);
  listener.device_ = status.st_dev;
  listener.inode_ = status.st_ino;
  if (endpoint.group && ::lchown(endpoint.path.c_str(), static_cast<uid_t>(-1), *endpoint.group) != 0)
    return sys_fail("give the socket {} to group {}", endpoint.path, *endpoint.group);
  if (::chmod(endpoint.path.c_str(), endpoint.mode) != 0) return sys_fail("set the mode of {}", endpoint.path);
  if (::listen(listener.fd_.get(), SOMAXCONN) != 0) return sys_fail("listen on {}", endpoint.path);
  listener.address_ = "unix://" + endpoint.path;
  return listener;
}

Result<std::vector<Listener>> Listener::on_tcp(const TcpEndpoint& endpoint) {
  std::optional<TlsContext> tls;
  if (endpoint.tls) tls = TRY(TlsContext::for_server(*endpoint.tls));
  std::vector<UniqueFd> sockets;
  if (endpoint.host.empty()) {
    sockets.push_back(TRY(listen_everywhere(endpoint.port)));
  } else {
    for (const auto& address : TRY(resolve(endpoint.host, endpoint.port, true))) {
      auto fd = listen_on(address);
      // "localhost" may resolve to ::1 on a machine that has it switched off.
      if (!fd && fd.error().sys_errno() == EADDRNOTAVAIL && address.family() == AF_INET6) continue;
      sockets.push_back(TRY(std::move(fd)));
      if (endpoint.port == 0) break;  // the kernel's choice would differ from one address to the next
    }
    if (sockets.empty()) return fail(ErrorKind::unavailable, "listen on {}: no usable address", endpoint.host);
  }
  std::vector<Listener> listeners;
  for (auto& fd : sockets) {
    Listener listener;
    listener.address_ = "tcp://" + format_address(TRY(local_address(fd.get())));
    listener.fd_ = std::move(fd);
    listener.transport_ = tls ? Transport::tls : Transport::tcp;
    listener.tls_ = tls;
    listeners.push_back(std::move(listener));
  }
  return listeners;
}

Result<Listener> Listener::adopt(UniqueFd listening) {
  int accepting = 0;
  socklen_t length = sizeof accepting;
  if (::getsockopt(listening.get(), SOL_SOCKET, SO_ACCEPTCONN, &accepting, &length) != 0)
    return sys_fail("use the inherited descriptor {}", listening.get());
  if (!accepting) return fail(ErrorKind::invalid, "the inherited descriptor {} is not listening", listening.get());
  const int flags = ::fcntl(listening.get(), F_GETFL);
  ::fcntl(listening.get(), F_SETFL, flags | O_NONBLOCK);
  ::fcntl(listening.get(), F_SETFD, FD_CLOEXEC);
  const auto address = TRY(local_address(listening.get()));
  Listener listener;
  if (address.family() == AF_UNIX) {
    listener.address_ = fmt::format("unix://{}", reinterpret_cast<const sockaddr_un*>(&address.storage)->sun_path);
  } else {
    listener.transport_ = Transport::tcp;
    listener.address_ = "tcp://" + format_address(address);
  }
  listener.fd_ = std::move(listening);
  return listener;
}

void Listener::close() {
  if (!fd_) return;
  fd_.reset();
  if (unlink_path_.empty()) return;
  struct stat status{};
  if (::lstat(unlink_path_.c_str(), &status) == 0 && status.st_dev == device_ && status.st_ino == inode_)
    ::unlink(unlink_path_.c_str());
}

}  // namespace corten::http
