// What outlives a daemon, what others do to our links and table, many at once, and what is refused.
#include <sys/resource.h>

#include <chrono>
#include <ctime>

#include "network/network_fixture.h"

namespace corten::network {
namespace {

TEST_F(NetworkTest, AnotherDaemonTakesOver) {
  const NetworkConfig config{.id = random_id(), .name = "bridge"};
  open_network(config);
  Endpoint one = must(network_->create(spec({{.container_port = 80, .host_port = 8080}})));
  Endpoint lost = must(network_->create(spec({{.container_port = 80, .host_port = 8081}})));
  const EndpointInfo record = one.info();
  const std::string lost_link = lost.info().host_link;
  const UniqueFd server = serve(one.namespace_fd(), 80);
  // What the container's processes would do: keep the namespace.
  const UniqueFd held(::fcntl(one.namespace_fd(), F_DUPFD_CLOEXEC, 0)),
      lost_held(::fcntl(lost.namespace_fd(), F_DUPFD_CLOEXEC, 0));
  one.detach();
  lost.detach();
  network_.reset();
  driver_.reset();
  EXPECT_TRUE(connect_to(other_.get(), host_ip, 8080, &server).connected) << "between two daemons";

  open_driver();
  network_ = must(driver_->add_network(config));
  EXPECT_EQ(to_string(network_->prefix()), "172.17.0.1/16");
  Endpoint again = must(network_->adopt(record));
  EXPECT_EQ(again.info().ports, record.ports);
  must(driver_->start());
  EXPECT_TRUE(connect_to(other_.get(), host_ip, 8080, &server).connected) << "after the restart";
  EXPECT_FALSE(connect_to(other_.get(), host_ip, 8081, nullptr, impatience_ms).connected) << "nobody's port";
  bool orphan_gone = false;
  for (int tries = 0; tries < 500 && !orphan_gone; ++tries) {
    std::this_thread::sleep_for(10ms);
    orphan_gone = !sys::find_link(route_, lost_link);
  }
  EXPECT_TRUE(orphan_gone);
  EXPECT_TRUE(driver_->statistics(record.host_link));
  EXPECT_FALSE(network_->create(spec({{.container_port = 80, .host_port = 8080}})));
  EndpointSpec wish = spec();
  wish.address = record.address;
  EXPECT_FALSE(network_->create(wish));
}

TEST_F(NetworkTest, AFlushedTableComesBack) {
  open_network();
  const Endpoint one = must(network_->create(spec({{.container_port = 80, .host_port = 8080}})));
  const UniqueFd server = serve(one.namespace_fd(), 80);
  sys::NftBatch flush(NFPROTO_IPV4, driver_->table_name());
  flush.delete_table();
  auto events = must(sys::NetlinkSocket::open(NETLINK_NETFILTER));
  must(events.subscribe(NFNLGRP_NFTABLES));
  must(flush.commit(netfilter_));
  // Ours goes, and comes back by itself.
  bool back = false;
  while (!back && wait_for(events.fd(), POLLIN, patience_ms))
    must(events.read_events([&](const sys::NetlinkAnswer& event) {
      if (event.type == (NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWTABLE)) back = true;
    }));
  EXPECT_TRUE(back);
  EXPECT_TRUE(connect_to(other_.get(), host_ip, 8080, &server).connected);
}

TEST_F(NetworkTest, ADeletedBridgeComesBack) {
  open_network({.pool_size = 0});
  const Endpoint one = must(network_->create(spec()));
  sys::NetlinkBatch batch;
  sys::put_delete_link(batch, "corten0");
  must(route_.execute(batch));
  const Endpoint two = must(network_->create(spec({{.container_port = 80, .host_port = 8080}})));
  const UniqueFd server = serve(two.namespace_fd(), 80);
  EXPECT_TRUE(connect_to(one.namespace_fd(), two.info().address, 80, &server).connected);
  EXPECT_TRUE(connect_to(other_.get(), host_ip, 8080, &server).connected);
}

TEST_F(NetworkTest, TwoDaemonsDoNotShareABridge) {
  open_network();
  const Endpoint one = must(network_->create(spec({{.container_port = 80, .host_port = 8080}})));
  const auto second = must(Driver::open({.instance = "/run/other"}));
  EXPECT_NE(second->table_name(), driver_->table_name());
  const auto refused = second->add_network({.id = random_id(), .name = "bridge"});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind(), ErrorKind::conflict);
  const auto own = must(second->add_network({.id = random_id(), .name = "bridge", .link = "other0"}));
  must(second->start());
  const Endpoint two = must(own->create(spec({{.container_port = 80, .host_port = 8081}})));
  EXPECT_FALSE(own->create(spec({{.container_port = 80, .host_port = 8080}}))) << "the other daemon's port";
  const UniqueFd at_one = serve(one.namespace_fd(), 80), at_two = serve(two.namespace_fd(), 80);
  EXPECT_TRUE(connect_to(other_.get(), host_ip, 8080, &at_one).connected);
  EXPECT_TRUE(connect_to(other_.get(), host_ip, 8081, &at_two).connected);
  EXPECT_TRUE(connect_to(one.namespace_fd(), host_ip, 8081, &at_two).connected);
  EXPECT_FALSE(connect_to(one.namespace_fd(), two.info().address, 80, nullptr, impatience_ms).connected);
  must(second->remove_all());
  EXPECT_TRUE(connect_to(other_.get(), host_ip, 8080, &at_one).connected);
}

// Such an address would be asked for on all ports of the bridge at each start.
TEST_F(NetworkTest, TheHostsEndsHaveNoAddresses) {
  open_network();
  const Endpoint one = must(network_->create(spec()));
  std::ifstream addresses("/proc/thread-self/net/if_inet6");
  const std::string text{std::istreambuf_iterator<char>(addresses), {}};
  EXPECT_THAT(text, testing::HasSubstr(" lo"));
  EXPECT_THAT(text, testing::Not(testing::HasSubstr(one.info().host_link)));
}

TEST_F(NetworkTest, StatisticsAreTheContainersOwn) {
  open_network();
  const Endpoint one = must(network_->create(spec()));
  const UniqueFd server = serve(host_.get(), 80);
  EXPECT_TRUE(connect_to(one.namespace_fd(), one.info().gateway, 80, &server).connected);  // addresses are resolved
  const auto before = must(driver_->statistics(one.info().host_link));
  const UniqueFd client = open_socket(one.namespace_fd(), SOCK_DGRAM);
  const auto where = socket_address(one.info().gateway, 9);
  const std::string text(1000, 'x');
  for (int i = 0; i < 5; ++i)
    ::sendto(client.get(), text.data(), text.size(), 0, reinterpret_cast<const sockaddr*>(&where), sizeof where);
  const auto after = must(driver_->statistics(one.info().host_link));
  EXPECT_GE(after.tx_bytes - before.tx_bytes, 5000u);
  EXPECT_LT(after.rx_bytes - before.rx_bytes, 5000u);
  EXPECT_EQ(driver_->statistics("ct-nosuch").error().kind(), ErrorKind::not_found);
}

TEST_F(NetworkTest, ABurstFromManyThreads) {
  open_network();
  constexpr int threads = 8, each = 12;
  std::vector<std::vector<Endpoint>> made(threads);
  {
    std::vector<std::jthread> workers;
    for (auto& list : made)
      workers.emplace_back([&] {
        for (int i = 0; i < each; ++i) list.push_back(must(network_->create(spec({{.container_port = 80}}))));
      });
  }
  std::set<Ipv4> addresses;
  std::set<std::uint16_t> ports;
  for (const auto& list : made)
    for (const Endpoint& endpoint : list) {
      addresses.insert(endpoint.info().address);
      ports.insert(endpoint.info().ports.at(0).host_port);
    }
  EXPECT_EQ(addresses.size(), threads * each);
  EXPECT_EQ(ports.size(), threads * each);
  EXPECT_EQ(driver_->remove_network(network_->config().id).error().kind(), ErrorKind::conflict);
  made.clear();
  must(driver_->remove_network(network_->config().id));
  expect_links_gone();
}

TEST_F(NetworkTest, BadConfigurationsAreRefused) {
  const auto refused = [&](NetworkConfig config) {
    config.id = random_id();
    if (config.name.empty()) config.name = "n";
    const auto result = driver_->add_network(std::move(config));
    return result ? "accepted" : std::string(to_string(result.error().kind()));
  };
  EXPECT_EQ(refused({.link = ""}), "invalid");
  EXPECT_EQ(refused({.link = "../escape"}), "invalid");
  EXPECT_EQ(refused({.link = "longer-than-fifteen"}), "invalid");
  EXPECT_EQ(refused({.link = "uplink"}), "conflict");
  EXPECT_EQ(refused({.address = Ipv4Prefix{host_ip, 24}}), "conflict");
  EXPECT_EQ(refused({.address = Ipv4Prefix{must(parse_ipv4("10.0.0.0")), 24}}), "invalid");
  EXPECT_EQ(refused({.mtu = 1}), "invalid");
  open_network();
  EXPECT_EQ(refused({.name = "bridge", .link = "other0"}), "conflict");
  EXPECT_EQ(refused({.link = "corten0"}), "conflict");
}

TEST_F(NetworkTest, NoneIsANamespaceWithLoopbackOnly) {
  const UniqueFd made = must(driver_->make_namespace());
  const UniqueFd server = serve(made.get(), 80);
  EXPECT_TRUE(connect_to(made.get(), loopback, 80, &server).connected);
  EXPECT_FALSE(connect_to(made.get(), host_ip, 80, nullptr, impatience_ms).connected);
}

// The kernel collects the link of a container that has just ended a moment later: nobody's business.
TEST_F(NetworkTest, OnlyLinksOfAnEarlierDaemonAreOrphans) {
  const NetworkConfig config{.id = random_id(), .name = "bridge", .pool_size = 0};
  open_network(config);
  Endpoint lost = must(network_->create(spec()));
  const std::string lost_link = lost.info().host_link;
  const UniqueFd lost_held(::fcntl(lost.namespace_fd(), F_DUPFD_CLOEXEC, 0));
  lost.detach();
  network_.reset();
  driver_.reset();

  open_driver();
  open_network(config);
  Endpoint ended = must(network_->create(spec()));
  const std::string ended_link = ended.info().host_link;
  const UniqueFd still_held(::fcntl(ended.namespace_fd(), F_DUPFD_CLOEXEC, 0));
  ended.close();
  for (int tries = 0; tries < 500 && sys::find_link(route_, lost_link); ++tries) std::this_thread::sleep_for(10ms);
  EXPECT_FALSE(sys::find_link(route_, lost_link));
  EXPECT_TRUE(sys::find_link(route_, ended_link));
}

TEST_F(NetworkTest, ABridgeThatSomebodyElseMadeAgainIsTakenBack) {
  open_network({.pool_size = 0});
  const Endpoint one = must(network_->create(spec()));
  sys::NetlinkBatch batch;
  sys::put_delete_link(batch, "corten0");
  sys::put_bridge(batch, "corten0", {2, 0, 0, 0, 0, 9}, 1500, "");
  must(route_.execute(batch));
  const Endpoint two = must(network_->create(spec()));
  const UniqueFd server = serve(two.namespace_fd(), 80);
  EXPECT_TRUE(connect_to(one.namespace_fd(), two.info().address, 80, &server).connected);
  EXPECT_TRUE(connect_to(host_.get(), two.info().address, 80, &server).connected);
  batch.clear();
  sys::put_delete_link(batch, "corten0");  // not ours to remove: it has no mark
  must(route_.execute(batch));
}

// Neighbours know the MAC of an address by rule, but for those that a user chose.
TEST_F(NetworkTest, NeighboursLearnOfAnotherMac) {
  open_network({.pool_size = 0});
  const Endpoint peer = must(network_->create(spec()));
  EndpointSpec wish = spec();
  wish.address = must(parse_ipv4("172.17.0.9"));
  for (const char* mac : {"", "02:11:22:33:44:55", "02:11:22:33:44:66", ""}) {
    wish.mac.reset();
    if (*mac != 0) wish.mac = must(parse_mac(mac));
    const Endpoint one = must(network_->create(wish));
    const UniqueFd server = serve(one.namespace_fd(), 80);
    EXPECT_TRUE(connect_to(peer.namespace_fd(), *wish.address, 80, &server).connected) << mac;
    EXPECT_TRUE(connect_to(host_.get(), *wish.address, 80, &server).connected) << mac;
  }
}

TEST_F(NetworkTest, NothingIsLeftOfWhatFailedHalfWay) {
  // The bridge is made before the range can be compared with its prefix.
  const auto refused = [&](const char* range) {
    return driver_->add_network({.id = random_id(), .name = "bridge", .ip_range = must(parse_ipv4_prefix(range))});
  };
  EXPECT_EQ(refused("10.0.0.0/24").error().kind(), ErrorKind::invalid);
  EXPECT_EQ(refused("172.17.0.0/15").error().kind(), ErrorKind::invalid) << "larger than the network";
  EXPECT_FALSE(sys::find_link(route_, "corten0"));

  open_network({.pool_size = 0});
  const UniqueFd foreign = serve(host_.get(), 9000), fresh = must(driver_->make_namespace());
  EXPECT_FALSE(network_->attach(fresh.get(), spec({{.container_port = 80, .host_port = 9000}}), "eth0", true));
  inside(fresh.get(), [] {
    auto socket = must(sys::NetlinkSocket::open(NETLINK_ROUTE));
    EXPECT_FALSE(sys::find_link(socket, "eth0"));
  });
  const UniqueFd server = serve(fresh.get(), 80);
  const Endpoint again =
      must(network_->attach(fresh.get(), spec({{.container_port = 80, .host_port = 9001}}), "eth0", true));
  EXPECT_TRUE(connect_to(other_.get(), host_ip, 9001, &server).connected);
}

TEST_F(NetworkTest, NetworksComeAndGoWhileRunning) {
  open_network();
  const std::string id = random_id();
  for (int round = 0; round < 3; ++round) {
    const auto second = must(driver_->add_network({.id = id, .name = "second", .link = "corten1"}));
    Endpoint one = must(second->create(spec({{.container_port = 80, .host_port = 8080}})));
    const UniqueFd server = serve(one.namespace_fd(), 80);
    EXPECT_TRUE(connect_to(other_.get(), host_ip, 8080, &server).connected);
    EXPECT_EQ(driver_->remove_network(id).error().kind(), ErrorKind::conflict);
    one.close();
    must(driver_->remove_network(id));
    EndpointSpec wish = spec();
    EXPECT_EQ(second->create(wish).error().kind(), ErrorKind::unavailable) << "removed";
    wish.address = Ipv4{second->prefix().address.value + 7};
    EXPECT_EQ(second->create(wish).error().kind(), ErrorKind::unavailable) << "removed";
  }
}

// A link that has just come up drops what is sent for a moment, which costs the sender a second.
TEST_F(NetworkTest, NoFirstPacketIsLost) {
  open_network({.pool_size = 0});
  constexpr int less_than_a_second = 700;
  const UniqueFd on_other = serve(other_.get(), 82);
  for (int round = 0; round < 10; ++round) {
    const Endpoint one = must(network_->create(spec()));
    if (round % 2 == 0) {
      const UniqueFd server = serve(one.namespace_fd(), 80);
      EXPECT_TRUE(connect_to(host_.get(), one.info().address, 80, &server, less_than_a_second).connected) << round;
    } else {
      EXPECT_TRUE(connect_to(one.namespace_fd(), other_ip, 82, &on_other, less_than_a_second).connected) << round;
    }
  }
}

// Without descriptors for it a connection waits in the queue, and the relay does not spin on it.
TEST_F(NetworkTest, ARelayWithoutDescriptorsWaits) {
  if (!host_has_ipv6()) GTEST_SKIP() << "no IPv6";
  open_network({.pool_size = 0});
  const Endpoint one = must(network_->create(spec({{.container_port = 80, .host_port = 8080}})));
  const UniqueFd server = serve(one.namespace_fd(), 80);
  const sockaddr_in6 where{.sin6_family = AF_INET6, .sin6_port = htons(8080), .sin6_addr = IN6ADDR_LOOPBACK_INIT};
  const UniqueFd client(::socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0));
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit none{3, before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
  const auto cpu_time = [] {
    timespec time{};
    ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
  };
  const auto begin = cpu_time();
  const bool connected = ::connect(client.get(), reinterpret_cast<const sockaddr*>(&where), sizeof where) == 0;
  const bool too_early = wait_for(server.get(), POLLIN, impatience_ms);
  const auto used = cpu_time() - begin;
  ::setrlimit(RLIMIT_NOFILE, &before);
  EXPECT_TRUE(connected);
  EXPECT_FALSE(too_early);
  EXPECT_LT(used, std::chrono::milliseconds(impatience_ms / 2));
  EXPECT_TRUE(wait_for(server.get(), POLLIN, patience_ms));
}

}  // namespace
}  // namespace corten::network
