#include "network/port_allocator.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>

#include "base/log.h"
#include "network/host_settings.h"

namespace corten::network {
namespace {

std::string address_and_port(const IpAddress& address, std::uint16_t port) {
  return address.v6 ? fmt::format("[{}]:{}", to_string(address), port) : fmt::format("{}:{}", to_string(address), port);
}

struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t size = 0;
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
};

SocketAddress socket_address(const IpAddress& address, std::uint16_t port) {
  SocketAddress result;
  if (address.v6) {
    sockaddr_in6 v6{.sin6_family = AF_INET6, .sin6_port = htons(port)};
    std::memcpy(&v6.sin6_addr, address.bytes.data(), address.bytes.size());
    std::memcpy(&result.storage, &v6, sizeof v6);
    result.size = sizeof v6;
  } else {
    const sockaddr_in v4{.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(address.v4.value)}};
    std::memcpy(&result.storage, &v4, sizeof v4);
    result.size = sizeof v4;
  }
  return result;
}

Result<UniqueFd> open_socket(Protocol protocol, bool v6) {
  const int type = protocol == Protocol::udp ? SOCK_DGRAM : SOCK_STREAM;
  const int number = protocol == Protocol::sctp ? IPPROTO_SCTP : 0;
  UniqueFd socket(::socket(v6 ? AF_INET6 : AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, number));
  if (!socket) return sys_fail("open a {} socket", to_string(protocol));
  const int on = 1;
  if (v6) ::setsockopt(socket.get(), IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
  return socket;
}

std::string driver_failed(const PortOwner& owner, std::string_view what) {
  return fmt::format("driver failed programming external connectivity on endpoint {} ({}): {}", owner.container_name,
                     owner.endpoint_id, what);
}

}  // namespace

Result<UniqueFd> reserve_port(Protocol protocol, const IpAddress& address, std::uint16_t port) {
  auto socket = open_socket(protocol, address.v6);
  if (!socket) {
    if (socket.error().sys_errno() == EPROTONOSUPPORT) return UniqueFd();
    return socket;
  }
  const SocketAddress where = socket_address(address, port);
  const bool listening = address.v6 && protocol == Protocol::tcp;
  if (!listening && ::bind(socket->get(), where.get(), where.size) == 0) return socket;
  if (!listening && (errno != EADDRINUSE || protocol != Protocol::tcp))
    return sys_fail("bind {}", address_and_port(address, port));
  // Listening is what tells a live owner from the dead: the kernel refuses it beside another listener.
  UniqueFd listener = TRY(open_socket(protocol, address.v6));
  const int on = 1;
  ::setsockopt(listener.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (::bind(listener.get(), where.get(), where.size) != 0 || ::listen(listener.get(), listening ? SOMAXCONN : 0) != 0)
    return sys_fail("bind {}", address_and_port(address, port));
  return listener;
}

Result<std::vector<IpAddress>> PortAllocator::addresses_of(const PortRequest& request, Ipv4 default_binding) const {
  std::vector<IpAddress> addresses;
  if (!request.host_ip.empty()) {
    addresses.push_back(TRY(parse_ip(request.host_ip)));
    return addresses;
  }
  addresses.push_back({.v4 = default_binding});
  if (default_binding.is_unspecified() && ipv6_) addresses.push_back({.v6 = true});
  return addresses;
}

bool PortAllocator::is_ours(Protocol protocol, const IpAddress& address, std::uint16_t port) const {
  const auto found = holders_.find({protocol, port});
  if (found == holders_.end()) return false;
  return std::ranges::any_of(found->second, [&](const Holder& holder) {
    if (holder.address.v6 != address.v6) return false;
    return holder.address.is_unspecified() || address.is_unspecified() || holder.address == address;
  });
}

void PortAllocator::give_locked(const PublishedPort& port) {
  const auto found = holders_.find({port.protocol, port.host_port});
  if (found == holders_.end()) return;
  std::erase_if(found->second, [&](const Holder& holder) { return holder.address == port.host_ip; });
  if (found->second.empty()) holders_.erase(found);
}

Result<> PortAllocator::take_one(const PortRequest& request, std::span<const IpAddress> addresses, std::uint16_t port,
                                 const PortOwner& owner, std::vector<PublishedPort>& taken) {
  const std::size_t before = taken.size();
  const auto give_back = [&]() REQUIRES(mutex_) {
    for (std::size_t i = before; i < taken.size(); ++i) give_locked(taken[i]);
    taken.resize(before);
  };
  for (const IpAddress& address : addresses) {
    if (is_ours(request.protocol, address, port)) {
      give_back();
      return std::unexpected(Error(ErrorKind::internal,
                                   driver_failed(owner, fmt::format("Bind for {} failed: port is already allocated",
                                                                    address_and_port(address, port))),
                                   EADDRINUSE));
    }
    auto socket = reserve_port(request.protocol, address, port);
    if (!socket) {
      const int sys_errno = socket.error().sys_errno();
      // An IPv6 stack without any address is no reason to refuse the port on IPv4.
      if (sys_errno == EAFNOSUPPORT && address.v6 && addresses.size() > 1) continue;
      const std::string reason = sys_errno == EADDRNOTAVAIL ? "cannot assign requested address" : errno_text(sys_errno);
      give_back();
      return std::unexpected(
          Error(ErrorKind::internal,
                driver_failed(owner, fmt::format("failed to bind host port for {}:{}:{}/{}: {}",
                                                 address_and_port(address, port), to_string(owner.container_ip),
                                                 request.container_port, to_string(request.protocol), reason)),
                sys_errno));
    }
    holders_[{request.protocol, port}].push_back({address, std::move(*socket)});
    taken.push_back({request.protocol, request.container_port, address, port});
  }
  return {};
}

Result<> PortAllocator::take_free(const PortRequest& request, std::span<const IpAddress> addresses,
                                  const PortOwner& owner, std::vector<PublishedPort>& taken) {
  std::pair<std::uint16_t, std::uint16_t> range{request.host_port, request.host_port_end};
  const bool any = request.host_port == 0;
  if (any) range = ephemeral_ports();
  if (range.second < range.first)
    return fail(ErrorKind::invalid, "invalid port range: {}-{}", range.first, range.second);
  const std::uint32_t size = range.second - range.first + 1u;
  std::uint32_t offset = 0;
  if (const auto last = last_.find(request.protocol); any && last != last_.end() && last->second >= range.first)
    offset = (last->second - range.first + 1u) % size;
  std::optional<Error> first_failure;
  for (std::uint32_t tried = 0; tried < size; ++tried, offset = (offset + 1) % size) {
    const auto port = static_cast<std::uint16_t>(range.first + offset);
    auto result = take_one(request, addresses, port, owner, taken);
    if (result) {
      if (any) last_[request.protocol] = port;
      return {};
    }
    if (result.error().sys_errno() != EADDRINUSE) return result;
    if (!first_failure) first_failure = std::move(result).error();
  }
  if (!any && first_failure) return std::unexpected(std::move(*first_failure));
  return fail(ErrorKind::internal, "{}", driver_failed(owner, "all ports are allocated"));
}

Result<std::vector<PublishedPort>> PortAllocator::take(std::span<const PortRequest> requests, Ipv4 default_binding,
                                                       const PortOwner& owner) {
  std::vector<PublishedPort> taken;
  const MutexLock lock(mutex_);
  for (const PortRequest& request : requests) {
    auto addresses = addresses_of(request, default_binding);
    Result<> result;
    if (!addresses)
      result = std::unexpected(std::move(addresses).error());
    else if (request.container_port == 0)
      result = fail(ErrorKind::invalid, "invalid container port: 0");
    else if (request.host_port != 0 && request.host_port_end == 0)
      result = take_one(request, *addresses, request.host_port, owner, taken);
    else
      result = take_free(request, *addresses, owner, taken);
    if (!result) {
      for (const PublishedPort& port : taken) give_locked(port);
      return std::unexpected(std::move(result).error());
    }
  }
  return taken;
}

std::vector<PublishedPort> PortAllocator::take_again(std::span<const PublishedPort> ports) {
  std::vector<PublishedPort> taken;
  const MutexLock lock(mutex_);
  for (const PublishedPort& port : ports) {
    if (is_ours(port.protocol, port.host_ip, port.host_port)) continue;
    auto socket = reserve_port(port.protocol, port.host_ip, port.host_port);
    if (!socket) {
      log::warn("published port {}/{} is lost: {}", address_and_port(port.host_ip, port.host_port),
                to_string(port.protocol), socket.error().text());
      continue;
    }
    holders_[{port.protocol, port.host_port}].push_back({port.host_ip, std::move(*socket)});
    taken.push_back(port);
  }
  return taken;
}

UniqueFd PortAllocator::lend_socket(const PublishedPort& port) {
  const MutexLock lock(mutex_);
  const auto found = holders_.find({port.protocol, port.host_port});
  if (found == holders_.end()) return {};
  const auto holder = std::ranges::find(found->second, port.host_ip, &Holder::address);
  return holder == found->second.end() ? UniqueFd() : std::move(holder->socket);
}

void PortAllocator::give(std::span<const PublishedPort> ports) {
  const MutexLock lock(mutex_);
  for (const PublishedPort& port : ports) give_locked(port);
}

}  // namespace corten::network
