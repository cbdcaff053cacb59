// For tests with real traffic between network namespaces. Each makes a namespace of its own that plays the host, and
// another one that plays a second host beside it, so nothing touches the machine's own network.
#pragma once

#include <arpa/inet.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <sys/socket.h>

#include <algorithm>
#include <barrier>
#include <cstring>
#include <fstream>
#include <thread>

#include "base/id.h"
#include "network/host_settings.h"
#include "network/network.h"
#include "sys/netlink_route.h"
#include "sys/nftables.h"

namespace corten::network {

using namespace std::chrono_literals;
using testing::HasSubstr;

inline constexpr Ipv4 host_ip{198u << 24 | 51u << 16 | 100u << 8 | 1};
inline constexpr Ipv4 other_ip{198u << 24 | 51u << 16 | 100u << 8 | 2};
inline constexpr Ipv4 loopback{127u << 24 | 1};
inline constexpr int patience_ms = 3000;   // for what must arrive
inline constexpr int impatience_ms = 300;  // for what must not

template <class T>
T must(Result<T> result) {
  if (!result) {
    ADD_FAILURE() << result.error().text();
    throw std::runtime_error(result.error().text());
  }
  return std::move(*result);
}
inline void must(Result<> result) {
  if (!result) {
    ADD_FAILURE() << result.error().text();
    throw std::runtime_error(result.error().text());
  }
}

inline UniqueFd current_namespace() { return UniqueFd(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC)); }

// Runs `action` on a thread inside the namespace.
template <class Action>
void inside(int namespace_fd, Action&& action) {
  std::thread([&] {
    ASSERT_EQ(::setns(namespace_fd, CLONE_NEWNET), 0);
    action();
  }).join();
}

inline UniqueFd new_namespace() {
  UniqueFd made;
  std::thread([&] {
    ASSERT_EQ(::unshare(CLONE_NEWNET), 0);
    made = current_namespace();
    auto socket = must(sys::NetlinkSocket::open(NETLINK_ROUTE));
    sys::NetlinkBatch batch;
    sys::put_link_up(batch, 1);
    must(socket.execute(batch));
  }).join();
  return made;
}

inline sockaddr_in socket_address(Ipv4 address, std::uint16_t port) {
  return {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(address.value)}};
}

inline UniqueFd open_socket(int namespace_fd, int type) {
  UniqueFd fd;
  inside(namespace_fd, [&] { fd = UniqueFd(::socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)); });
  return fd;
}

// A socket bound (and for TCP listening) to the port on all addresses of the namespace.
inline UniqueFd serve(int namespace_fd, std::uint16_t port, int type = SOCK_STREAM) {
  UniqueFd fd = open_socket(namespace_fd, type);
  const int on = 1;
  if (type == SOCK_STREAM) ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  const auto where = socket_address({}, port);
  EXPECT_EQ(::bind(fd.get(), reinterpret_cast<const sockaddr*>(&where), sizeof where), 0) << std::strerror(errno);
  if (type == SOCK_STREAM) {
    EXPECT_EQ(::listen(fd.get(), 16), 0);
  }
  return fd;
}

inline bool wait_for(int fd, short events, int milliseconds) {
  pollfd entry{.fd = fd, .events = events};
  return ::poll(&entry, 1, milliseconds) == 1;
}

struct Peer {
  bool connected = false;
  Ipv4 address;  // as the server sees the client
};

// Connects, and when `server` is given accepts there and moves a byte each way.
inline Peer connect_to(int from_namespace, Ipv4 address, std::uint16_t port, const UniqueFd* server,
                       int timeout_ms = patience_ms) {
  UniqueFd client = open_socket(from_namespace, SOCK_STREAM);
  const auto where = socket_address(address, port);
  if (::connect(client.get(), reinterpret_cast<const sockaddr*>(&where), sizeof where) != 0 && errno != EINPROGRESS)
    return {};
  if (!wait_for(client.get(), POLLOUT, timeout_ms)) return {};
  int error = 0;
  socklen_t size = sizeof error;
  ::getsockopt(client.get(), SOL_SOCKET, SO_ERROR, &error, &size);
  if (error != 0) return {};
  Peer peer{.connected = true};
  if (!server) return peer;
  if (!wait_for(server->get(), POLLIN, patience_ms)) {
    ADD_FAILURE() << "connected, but not to the server";
    return {};
  }
  sockaddr_in from{};
  size = sizeof from;
  const UniqueFd accepted(::accept4(server->get(), reinterpret_cast<sockaddr*>(&from), &size, SOCK_CLOEXEC));
  peer.address = {ntohl(from.sin_addr.s_addr)};
  char byte = 'q';
  EXPECT_EQ(::write(client.get(), &byte, 1), 1);
  EXPECT_EQ(::read(accepted.get(), &byte, 1), 1);
  byte = 'a';
  EXPECT_EQ(::write(accepted.get(), &byte, 1), 1);
  EXPECT_TRUE(wait_for(client.get(), POLLIN, patience_ms));
  EXPECT_EQ(::read(client.get(), &byte, 1), 1);
  EXPECT_EQ(byte, 'a');
  return peer;
}

// Sends a datagram from `client` and expects the server's answer from the address it was sent to. Asks a second and a
// third time, as datagrams get lost while a link that is just coming up has no queue yet.
inline bool ask_udp(const UniqueFd& client, Ipv4 address, std::uint16_t port, const UniqueFd& server) {
  const auto where = socket_address(address, port);
  for (int tries = 0; tries < 3; ++tries) {
    if (::sendto(client.get(), "ask", 3, 0, reinterpret_cast<const sockaddr*>(&where), sizeof where) != 3) return false;
    if (!wait_for(server.get(), POLLIN, patience_ms / 3)) continue;
    char text[8];
    sockaddr_in from{};
    socklen_t size = sizeof from;
    if (::recvfrom(server.get(), text, sizeof text, 0, reinterpret_cast<sockaddr*>(&from), &size) != 3) return false;
    if (::sendto(server.get(), "tell", 4, 0, reinterpret_cast<const sockaddr*>(&from), size) != 4) return false;
    if (!wait_for(client.get(), POLLIN, patience_ms / 3)) continue;
    size = sizeof from;
    if (::recvfrom(client.get(), text, sizeof text, 0, reinterpret_cast<sockaddr*>(&from), &size) != 4) return false;
    return from.sin_addr.s_addr == where.sin_addr.s_addr && from.sin_port == where.sin_port;
  }
  return false;
}

class NetworkTest : public testing::Test {
 protected:
  void SetUp() override {
    if (::unshare(CLONE_NEWNET) != 0) GTEST_SKIP() << "needs CAP_SYS_ADMIN to make network namespaces";
    host_ = current_namespace();
    other_ = new_namespace();
    route_ = must(sys::NetlinkSocket::open(NETLINK_ROUTE));
    netfilter_ = must(sys::NetlinkSocket::open(NETLINK_NETFILTER));
    sys::NetlinkBatch batch;
    sys::put_link_up(batch, 1);
    sys::put_veth(
        batch, {.name = "uplink", .peer_name = "wire", .peer_namespace = other_.get(), .peer_mac = {2, 0, 0, 0, 0, 2}});
    must(route_.execute(batch));
    give_address(host_.get(), "uplink", host_ip);
    give_address(other_.get(), "wire", other_ip);
    // A link is open a moment after its other end is up: before, a first packet is lost.
    for (int tries = 0; tries < 500 && !must(sys::find_link(route_, "uplink")).running; ++tries)
      std::this_thread::sleep_for(1ms);
    open_driver();
  }

  void TearDown() override {
    if (!host_) return;
    network_.reset();
    if (driver_) must(driver_->remove_all());
    driver_.reset();
    EXPECT_THAT(must(sys::list_nft_tables(netfilter_, NFPROTO_IPV4)), testing::IsEmpty());
    expect_links_gone();
  }

  void give_address(int namespace_fd, const char* link, Ipv4 address) {
    inside(namespace_fd, [&] {
      auto socket = must(sys::NetlinkSocket::open(NETLINK_ROUTE));
      const auto info = must(sys::find_link(socket, link));
      sys::NetlinkBatch batch;
      sys::put_address(batch, info.index, address.value, 24);
      sys::put_link_up(batch, info.index);
      must(socket.execute(batch));
    });
  }

  // Of the tests' own links only lo and the wire may be left; the kernel removes the others in its own time.
  void expect_links_gone() {
    std::vector<std::string> left;
    for (int tries = 0; tries < 500; ++tries) {
      left.clear();
      for (const auto& link : must(sys::list_links(route_)))
        if (link.kind == "bridge" || (link.kind == "veth" && link.name != "uplink")) left.push_back(link.name);
      if (left.empty()) return;
      std::this_thread::sleep_for(10ms);
    }
    ADD_FAILURE() << "left over: " << testing::PrintToString(left);
  }

  void open_driver() { driver_ = must(Driver::open({.instance = "/run/network-test"})); }

  void open_network(NetworkConfig config = {}) {
    if (config.id.empty()) config.id = random_id();
    if (config.name.empty()) config.name = "bridge";
    network_ = must(driver_->add_network(config));
    must(driver_->start());
  }

  EndpointSpec spec(std::vector<PortRequest> ports = {}) {
    return {.container_id = random_id(), .container_name = "web", .ports = std::move(ports)};
  }

  UniqueFd host_, other_;
  sys::NetlinkSocket route_, netfilter_;
  std::shared_ptr<Driver> driver_;
  std::shared_ptr<Network> network_;
};

}  // namespace corten::network
