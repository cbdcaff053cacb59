// What reaches what, and what does not: containers, their host, and another host beside it.
#include "network/network_fixture.h"

namespace corten::network {
namespace {

TEST_F(NetworkTest, ContainersReachEachOtherTheHostAndTheWorld) {
  open_network();
  const Endpoint one = must(network_->create(spec())), two = must(network_->create(spec()));
  EXPECT_EQ(to_string(one.info().address), "172.17.0.2");
  EXPECT_EQ(to_string(one.info().gateway), "172.17.0.1");
  EXPECT_EQ(to_string(one.info().mac), "02:42:ac:11:00:02");
  EXPECT_EQ(to_string(two.info().address), "172.17.0.3");
  const UniqueFd server = serve(one.namespace_fd(), 80);
  EXPECT_EQ(connect_to(two.namespace_fd(), one.info().address, 80, &server).address, two.info().address);
  EXPECT_TRUE(connect_to(host_.get(), one.info().address, 80, &server).connected);
  const UniqueFd on_host = serve(host_.get(), 81);
  EXPECT_TRUE(connect_to(one.namespace_fd(), one.info().gateway, 81, &on_host).connected);
  const UniqueFd on_other = serve(other_.get(), 82);
  EXPECT_EQ(connect_to(one.namespace_fd(), other_ip, 82, &on_other).address, host_ip) << "not masqueraded";
}

TEST_F(NetworkTest, UnpublishedPortsAreNotReachableFromOutside) {
  open_network();
  const Endpoint one = must(network_->create(spec({{.container_port = 80, .host_port = 8080}})));
  const UniqueFd server = serve(one.namespace_fd(), 80);
  inside(other_.get(), [&] {
    auto socket = must(sys::NetlinkSocket::open(NETLINK_ROUTE));
    sys::NetlinkBatch batch;
    sys::put_default_route(batch, host_ip.value);
    must(socket.execute(batch));
  });
  EXPECT_FALSE(connect_to(other_.get(), one.info().address, 80, nullptr, impatience_ms).connected);
  EXPECT_TRUE(connect_to(other_.get(), host_ip, 8080, &server).connected);
}

class PublishedPortTest : public NetworkTest, public testing::WithParamInterface<const char*> {};

TEST_P(PublishedPortTest, WorkFromEverywhere) {
  if (!write_setting("net/bridge/bridge-nf-call-iptables", GetParam())) GTEST_SKIP() << "no br_netfilter";
  open_driver();
  open_network();
  const Endpoint one = must(network_->create(spec({{.container_port = 80, .host_port = 8080}})));
  const Endpoint two = must(network_->create(spec()));
  const UniqueFd server = serve(one.namespace_fd(), 80);
  ASSERT_GE(one.info().ports.size(), 1u);
  EXPECT_EQ(one.info().ports[0], (PublishedPort{Protocol::tcp, 80, {}, 8080}));
  EXPECT_TRUE(connect_to(host_.get(), loopback, 8080, &server).connected) << "host's loopback";
  EXPECT_TRUE(connect_to(host_.get(), host_ip, 8080, &server).connected) << "host's own address";
  EXPECT_TRUE(connect_to(host_.get(), one.info().gateway, 8080, &server).connected) << "bridge's address";
  EXPECT_EQ(connect_to(other_.get(), host_ip, 8080, &server).address, other_ip) << "another host";
  EXPECT_TRUE(connect_to(two.namespace_fd(), host_ip, 8080, &server).connected) << "another container";
  EXPECT_TRUE(connect_to(two.namespace_fd(), two.info().gateway, 8080, &server).connected) << "another, by gateway";
  EXPECT_TRUE(connect_to(one.namespace_fd(), host_ip, 8080, &server).connected) << "the container itself";
  EXPECT_TRUE(connect_to(one.namespace_fd(), one.info().gateway, 8080, &server).connected) << "itself, by gateway";
}
INSTANTIATE_TEST_SUITE_P(WithAndWithoutBridgeFirewall, PublishedPortTest, testing::Values("0", "1"));

TEST_F(NetworkTest, PublishedUdpPortsMoveToTheNextContainer) {
  open_network();
  const UniqueFd from_other = open_socket(other_.get(), SOCK_DGRAM), from_host = open_socket(host_.get(), SOCK_DGRAM);
  const PortRequest request{.protocol = Protocol::udp, .container_port = 53, .host_port = 5353};
  for (int round = 0; round < 2; ++round) {
    Endpoint one = must(network_->create(spec({request})));
    const UniqueFd server = serve(one.namespace_fd(), 53, SOCK_DGRAM);
    // The same client sockets in both rounds: what the kernel remembers of the first must not hold.
    EXPECT_TRUE(ask_udp(from_other, host_ip, 5353, server)) << "round " << round;
    EXPECT_TRUE(ask_udp(from_host, loopback, 5353, server)) << "round " << round;
    one.close();
    const auto where = socket_address(host_ip, 5353);
    ::sendto(from_other.get(), "ask", 3, 0, reinterpret_cast<const sockaddr*>(&where), sizeof where);
    EXPECT_FALSE(wait_for(server.get(), POLLIN, impatience_ms));
    char text[8];
    while (::recv(from_other.get(), text, sizeof text, 0) >= 0 || errno == ECONNREFUSED) {
    }
  }
}

sockaddr_in6 loopback_v6(std::uint16_t port) {
  return {.sin6_family = AF_INET6, .sin6_port = htons(port), .sin6_addr = IN6ADDR_LOOPBACK_INIT};
}

TEST_F(NetworkTest, Ipv6ClientsOfTheHostAreRelayed) {
  if (!host_has_ipv6()) GTEST_SKIP() << "no IPv6";
  open_network();
  Endpoint one = must(network_->create(spec({{.container_port = 80, .host_port = 8080},
                                             {.protocol = Protocol::udp, .container_port = 53, .host_port = 5353}})));
  ASSERT_EQ(one.info().ports.size(), 4u);
  EXPECT_TRUE(one.info().ports[1].host_ip.v6);
  const UniqueFd server = serve(one.namespace_fd(), 80), answerer = serve(one.namespace_fd(), 53, SOCK_DGRAM);
  auto where = loopback_v6(8080);
  // A megabyte each way, half-closed by the client first.
  UniqueFd client(::socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0));
  ASSERT_EQ(::connect(client.get(), reinterpret_cast<const sockaddr*>(&where), sizeof where), 0)
      << std::strerror(errno);
  ASSERT_TRUE(wait_for(server.get(), POLLIN, patience_ms));
  UniqueFd accepted(::accept4(server.get(), nullptr, nullptr, SOCK_CLOEXEC));
  const std::string sent(1 << 20, 'x');
  std::string echoed;
  std::thread echo([&] {
    char buffer[65536];
    std::string all;
    for (ssize_t got = 0; (got = ::read(accepted.get(), buffer, sizeof buffer)) > 0;)
      all.append(buffer, static_cast<std::size_t>(got));
    EXPECT_EQ(all.size(), sent.size());
    EXPECT_EQ(::send(accepted.get(), all.data(), all.size(), MSG_NOSIGNAL), static_cast<ssize_t>(all.size()));
    accepted.reset();
  });
  EXPECT_EQ(::send(client.get(), sent.data(), sent.size(), MSG_NOSIGNAL), static_cast<ssize_t>(sent.size()));
  ::shutdown(client.get(), SHUT_WR);
  char buffer[65536];
  for (ssize_t got = 0; (got = ::read(client.get(), buffer, sizeof buffer)) > 0;)
    echoed.append(buffer, static_cast<std::size_t>(got));
  echo.join();
  EXPECT_EQ(echoed, sent);

  where = loopback_v6(5353);
  const UniqueFd asker(::socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ASSERT_EQ(::connect(asker.get(), reinterpret_cast<const sockaddr*>(&where), sizeof where), 0);
  for (int round = 0; round < 3; ++round) {
    ASSERT_EQ(::send(asker.get(), "ask", 3, 0), 3);
    ASSERT_TRUE(wait_for(answerer.get(), POLLIN, patience_ms));
    sockaddr_in from{};
    socklen_t size = sizeof from;
    ASSERT_EQ(::recvfrom(answerer.get(), buffer, sizeof buffer, 0, reinterpret_cast<sockaddr*>(&from), &size), 3);
    ASSERT_EQ(::sendto(answerer.get(), "tell", 4, 0, reinterpret_cast<const sockaddr*>(&from), size), 4);
    ASSERT_TRUE(wait_for(asker.get(), POLLIN, patience_ms));
    EXPECT_EQ(::recv(asker.get(), buffer, sizeof buffer, 0), 4);
  }

  // A container that does not listen: the client is reset, not left hanging.
  Endpoint deaf = must(network_->create(spec({{.container_port = 81, .host_port = 8081}})));
  where = loopback_v6(8081);
  UniqueFd refused(::socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (::connect(refused.get(), reinterpret_cast<const sockaddr*>(&where), sizeof where) == 0) {
    ASSERT_TRUE(wait_for(refused.get(), POLLIN, patience_ms));
    EXPECT_LE(::read(refused.get(), buffer, 1), 0);
  }
  one.close();
  where = loopback_v6(8080);
  const UniqueFd late(::socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0));
  EXPECT_NE(::connect(late.get(), reinterpret_cast<const sockaddr*>(&where), sizeof where), 0);
}

TEST_F(NetworkTest, LoopbackBindingsStayOnTheHost) {
  open_network();
  const Endpoint one =
      must(network_->create(spec({{.container_port = 80, .host_ip = "127.0.0.1", .host_port = 8080},
                                  {.container_port = 81, .host_ip = "198.51.100.1", .host_port = 8081}})));
  ASSERT_EQ(one.info().ports.size(), 2u);
  const UniqueFd server = serve(one.namespace_fd(), 80), second = serve(one.namespace_fd(), 81);
  EXPECT_TRUE(connect_to(host_.get(), loopback, 8080, &server).connected);
  EXPECT_FALSE(connect_to(host_.get(), host_ip, 8080, nullptr, impatience_ms).connected);
  EXPECT_FALSE(connect_to(other_.get(), host_ip, 8080, nullptr, impatience_ms).connected);
  EXPECT_TRUE(connect_to(other_.get(), host_ip, 8081, &second).connected);
  EXPECT_FALSE(connect_to(host_.get(), loopback, 8081, nullptr, impatience_ms).connected);
  // A neighbour that sends packets for 127.0.0.1 over the wire.
  inside(other_.get(), [&] {
    must(write_setting("net/ipv4/conf/wire/route_localnet", "1"));
    auto socket = must(sys::NetlinkSocket::open(NETLINK_ROUTE));
    sys::NetlinkBatch batch;
    sys::put_delete_address(batch, 1, loopback.value, 8);
    sys::put_default_route(batch, host_ip.value);
    must(socket.execute(batch));
  });
  EXPECT_FALSE(connect_to(other_.get(), loopback, 8080, nullptr, impatience_ms).connected);
}

TEST_F(NetworkTest, TakenPortsAreRefusedWithDockersWords) {
  open_network();
  const Endpoint one = must(network_->create(spec({{.container_port = 80, .host_port = 8080}})));
  const auto again =
      network_->create(spec({{.container_port = 81, .host_port = 8081}, {.container_port = 80, .host_port = 8080}}));
  ASSERT_FALSE(again);
  EXPECT_THAT(again.error().text(),
              testing::MatchesRegex("driver failed programming external connectivity on endpoint web "
                                    "\\([0-9a-f]{64}\\): Bind for 0\\.0\\.0\\.0:8080 failed: port is "
                                    "already allocated"));
  const auto specific = network_->create(spec({{.container_port = 80, .host_ip = "127.0.0.1", .host_port = 8080}}));
  ASSERT_FALSE(specific);
  const UniqueFd foreign = serve(host_.get(), 9000);
  const auto taken = network_->create(spec({{.container_port = 80, .host_port = 9000}}));
  ASSERT_FALSE(taken);
  EXPECT_THAT(taken.error().text(),
              testing::MatchesRegex(".*: failed to bind host port for 0\\.0\\.0\\.0:9000:172\\.17\\.0\\."
                                    "[0-9]+:80/tcp: address already in use"));
  const auto nowhere = network_->create(spec({{.container_port = 80, .host_ip = "203.0.113.9", .host_port = 9001}}));
  ASSERT_FALSE(nowhere);
  EXPECT_THAT(nowhere.error().text(), HasSubstr("cannot assign requested address"));
  EXPECT_EQ(network_->create(spec({{.container_port = 80, .host_ip = "nonsense", .host_port = 9001}})).error().kind(),
            ErrorKind::invalid);
  EXPECT_EQ(network_->create(spec({{.container_port = 0, .host_port = 9001}})).error().kind(), ErrorKind::invalid);
  // What was refused holds nothing.
  EXPECT_TRUE(network_->create(spec({{.container_port = 81, .host_port = 8081}})));
  // And nobody else gets what we have, not even with SO_REUSEADDR.
  const UniqueFd thief = open_socket(host_.get(), SOCK_STREAM);
  const int on = 1;
  ::setsockopt(thief.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  const auto where = socket_address({}, 8080);
  EXPECT_NE(::bind(thief.get(), reinterpret_cast<const sockaddr*>(&where), sizeof where), 0);
}

TEST_F(NetworkTest, ConnectionsInTimeWaitDoNotHoldAPort) {
  open_network();
  UniqueFd server = serve(host_.get(), 8080);
  UniqueFd client = open_socket(host_.get(), SOCK_STREAM);
  const auto where = socket_address(loopback, 8080);
  ::connect(client.get(), reinterpret_cast<const sockaddr*>(&where), sizeof where);
  ASSERT_TRUE(wait_for(server.get(), POLLIN, patience_ms));
  UniqueFd accepted(::accept4(server.get(), nullptr, nullptr, SOCK_CLOEXEC));
  accepted.reset();  // who closes first keeps the port in TIME_WAIT
  ASSERT_TRUE(wait_for(client.get(), POLLIN, patience_ms));
  client.reset();
  server.reset();
  const Endpoint one = must(network_->create(spec({{.container_port = 80, .host_port = 8080}})));
  const UniqueFd inside_server = serve(one.namespace_fd(), 80);
  EXPECT_TRUE(connect_to(host_.get(), loopback, 8080, &inside_server).connected);
}

TEST_F(NetworkTest, RandomPortsAndRangesTakeFreePorts) {
  open_network();
  must(write_setting("net/ipv4/ip_local_port_range", "40000 40009"));
  std::vector<Endpoint> endpoints;
  std::vector<std::uint16_t> ports;
  for (int i = 0; i < 10; ++i) {
    endpoints.push_back(must(network_->create(spec({{.container_port = 80}}))));
    ports.push_back(endpoints.back().info().ports.at(0).host_port);
  }
  std::ranges::sort(ports);
  EXPECT_EQ(ports.front(), 40000);
  EXPECT_EQ(ports.back(), 40009);
  EXPECT_EQ(std::ranges::adjacent_find(ports), ports.end());
  EXPECT_THAT(network_->create(spec({{.container_port = 80}})).error().text(), HasSubstr("all ports are allocated"));
  const PortRequest range{.container_port = 80, .host_port = 8000, .host_port_end = 8001};
  const UniqueFd foreign = serve(host_.get(), 8000);
  endpoints.push_back(must(network_->create(spec({range}))));
  EXPECT_EQ(endpoints.back().info().ports.at(0).host_port, 8001);
  EXPECT_FALSE(network_->create(spec({range})));
}

TEST_F(NetworkTest, ManyPortsAreOneTransaction) {
  open_network();
  std::vector<PortRequest> requests;
  for (std::uint16_t i = 0; i < 400; ++i)
    requests.push_back(
        {.container_port = static_cast<std::uint16_t>(1000 + i), .host_port = static_cast<std::uint16_t>(20000 + i)});
  Endpoint one = must(network_->create(spec(requests)));
  const auto elements = must(sys::list_nft_elements(netfilter_, NFPROTO_IPV4, driver_->table_name(), "ports_any"));
  EXPECT_EQ(elements.size(), 400u);
  EXPECT_EQ(elements[0].comment, one.info().container_id);
  const UniqueFd server = serve(one.namespace_fd(), 1399);
  EXPECT_TRUE(connect_to(other_.get(), host_ip, 20399, &server).connected);
  one.close();
  EXPECT_THAT(must(sys::list_nft_elements(netfilter_, NFPROTO_IPV4, driver_->table_name(), "ports_any")),
              testing::IsEmpty());
}

TEST_F(NetworkTest, PortsComeAndGoWhileRunning) {
  open_network();
  Endpoint one = must(network_->create(spec()));
  const UniqueFd server = serve(one.namespace_fd(), 80);
  const std::vector<PortRequest> requests{{.container_port = 80, .host_port = 8080}};
  const auto published = must(one.publish(requests));
  EXPECT_EQ(one.info().ports, published);
  EXPECT_TRUE(connect_to(other_.get(), host_ip, 8080, &server).connected);
  must(one.unpublish(published));
  EXPECT_THAT(one.info().ports, testing::IsEmpty());
  EXPECT_FALSE(connect_to(other_.get(), host_ip, 8080, nullptr, impatience_ms).connected);
}

TEST_F(NetworkTest, WithoutInterContainerTrafficOnlyPublishedPortsAreReached) {
  open_network({.inter_container = false});
  const Endpoint one = must(network_->create(spec({{.container_port = 80, .host_port = 8080}})));
  const Endpoint two = must(network_->create(spec()));
  const UniqueFd server = serve(one.namespace_fd(), 80);
  EXPECT_FALSE(connect_to(two.namespace_fd(), one.info().address, 80, nullptr, impatience_ms).connected);
  EXPECT_TRUE(connect_to(host_.get(), one.info().address, 80, &server).connected);
  EXPECT_TRUE(connect_to(other_.get(), host_ip, 8080, &server).connected);
}

TEST_F(NetworkTest, NetworksAreIsolatedFromEachOther) {
  open_network();
  const auto second =
      must(driver_->add_network({.id = random_id(), .name = "second", .link = "corten1", .internal = true}));
  const auto third = must(driver_->add_network({.id = random_id(), .name = "third", .link = "corten2"}));
  EXPECT_EQ(to_string(second->prefix()), "172.18.0.1/16");
  EXPECT_EQ(to_string(third->prefix()), "172.19.0.1/16");
  const Endpoint one = must(network_->create(spec())), two = must(second->create(spec())),
                 three = must(third->create(spec())), near_two = must(second->create(spec()));
  const UniqueFd at_one = serve(one.namespace_fd(), 80), at_two = serve(two.namespace_fd(), 80),
                 at_other = serve(other_.get(), 80);
  EXPECT_FALSE(connect_to(three.namespace_fd(), one.info().address, 80, nullptr, impatience_ms).connected);
  EXPECT_FALSE(connect_to(three.namespace_fd(), two.info().address, 80, nullptr, impatience_ms).connected);
  EXPECT_FALSE(connect_to(two.namespace_fd(), other_ip, 80, nullptr, impatience_ms).connected);
  EXPECT_TRUE(connect_to(near_two.namespace_fd(), two.info().address, 80, &at_two).connected);
  EXPECT_TRUE(connect_to(three.namespace_fd(), other_ip, 80, &at_other).connected);
}

TEST_F(NetworkTest, OneContainerOnTwoNetworks) {
  open_network();
  const auto second = must(driver_->add_network({.id = random_id(), .name = "second", .link = "corten1"}));
  const Endpoint one = must(network_->create(spec())), peer = must(second->create(spec()));
  inside(one.namespace_fd(), [] { must(write_setting("net/ipv4/ip_unprivileged_port_start", "100")); });
  const Endpoint more = must(second->attach(one.namespace_fd(), spec(), "eth1", false));
  inside(one.namespace_fd(), [] {
    EXPECT_EQ(must(read_setting("net/ipv4/ip_unprivileged_port_start")), "100") << "the container's own setting";
    EXPECT_EQ(must(read_setting("net/ipv6/conf/eth1/disable_ipv6")), "1");
  });
  const UniqueFd fresh = must(driver_->make_namespace());
  const Endpoint attached = must(network_->attach(fresh.get(), spec(), "eth0", true));
  const UniqueFd at_attached = serve(fresh.get(), 80);
  EXPECT_TRUE(connect_to(host_.get(), attached.info().address, 80, &at_attached).connected);
  EXPECT_EQ(more.info().container_link, "eth1");
  const UniqueFd server = serve(peer.namespace_fd(), 80);
  EXPECT_EQ(connect_to(one.namespace_fd(), peer.info().address, 80, &server).address, more.info().address);
}

TEST_F(NetworkTest, WishesForAddressesAreGranted) {
  open_network({.address = Ipv4Prefix{must(parse_ipv4("10.9.0.1")), 29}, .pool_size = 3});
  EndpointSpec wish = spec();
  wish.address = must(parse_ipv4("10.9.0.3"));  // may be on the shelf
  wish.mac = must(parse_mac("02:11:22:33:44:55"));
  const Endpoint one = must(network_->create(wish));
  EXPECT_EQ(one.info().address, *wish.address);
  inside(one.namespace_fd(), [&] {
    auto socket = must(sys::NetlinkSocket::open(NETLINK_ROUTE));
    EXPECT_EQ(must(sys::find_link(socket, "eth0")).mac, wish.mac->bytes);
  });
  EXPECT_THAT(network_->create(wish).error().text(), "Address already in use");
  wish.address = must(parse_ipv4("10.9.1.3"));
  EXPECT_EQ(network_->create(wish).error().kind(), ErrorKind::invalid);
  // Six addresses less the gateway's: the shelf's do not get lost.
  std::vector<Endpoint> rest;
  for (int i = 0; i < 4; ++i) rest.push_back(must(network_->create(spec())));
  EXPECT_EQ(network_->create(spec()).error().kind(), ErrorKind::exhausted);
  const Ipv4 freed = rest.back().info().address;
  rest.pop_back();
  EXPECT_EQ(must(network_->create(spec())).info().address, freed);
}

TEST_F(NetworkTest, Ipv6IsOffOnTheInterfaceAndOnForLoopback) {
  open_network();
  const Endpoint one = must(network_->create(spec()));
  inside(one.namespace_fd(), [] {
    EXPECT_EQ(must(read_setting("net/ipv6/conf/eth0/disable_ipv6")), "1");
    EXPECT_EQ(must(read_setting("net/ipv6/conf/lo/disable_ipv6")), "0");
    EXPECT_EQ(must(read_setting("net/ipv4/ip_unprivileged_port_start")), "0");
  });
}

}  // namespace
}  // namespace corten::network
