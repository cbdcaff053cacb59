#include "sys/netlink.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/rtnetlink.h>
#include <sched.h>
#include <sys/socket.h>

#include <atomic>
#include <chrono>
#include <cstring>
#include <set>
#include <thread>

#include "sys/netlink_route.h"
#include "sys/nftables.h"

namespace corten::sys {
namespace {

// Runs the test's body in a network namespace that ends with it.
template <class Body>
void in_new_namespace(Body&& body) {
  bool skipped = false;
  std::thread([&] {
    skipped = ::unshare(CLONE_NEWNET) != 0;
    if (!skipped) body();
  }).join();
  if (skipped) GTEST_SKIP() << "needs CAP_SYS_ADMIN to make a network namespace";
}

TEST(NetlinkBatch, AValueTooLongForItsLengthIsNeverSent) {
  in_new_namespace([] {
    auto socket = NetlinkSocket::open(NETLINK_ROUTE);
    ASSERT_TRUE(socket);
    // 65536 bytes more would wrap to a short attribute, and the rest would be read as attributes of ours.
    NetlinkBatch batch;
    batch.begin(RTM_NEWLINK, NLM_F_CREATE, ifinfomsg{});
    batch.put_string(IFLA_IFNAME, std::string(65536 + 4, 'x'));
    batch.end();
    const auto result = socket->execute(batch);
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().kind(), ErrorKind::invalid);
    NetlinkBatch nested;
    nested.begin(RTM_NEWLINK, NLM_F_CREATE, ifinfomsg{});
    const auto mark = nested.open(IFLA_LINKINFO);
    for (int i = 0; i < 3; ++i) nested.put_string(IFLA_INFO_DATA, std::string(30000, 'x'));
    nested.close(mark);
    nested.end();
    EXPECT_FALSE(socket->execute(nested));
  });
}

TEST(NetlinkAttributes, MalformedOnesEndTheList) {
  int seen = 0;
  const auto count = [&](const NetlinkAttribute&) { ++seen; };
  for_each_attribute({}, count);
  const std::uint16_t too_long[] = {100, 1, 0, 0};
  for_each_attribute(std::as_bytes(std::span(too_long)), count);
  const std::uint16_t zero[] = {0, 1, 0, 0};
  for_each_attribute(std::as_bytes(std::span(zero)), count);
  EXPECT_EQ(seen, 0);
  const std::uint16_t good_then_short[] = {6, 7, 0x4241, 0, 3, 9};
  for_each_attribute(std::as_bytes(std::span(good_then_short)), count);
  EXPECT_EQ(seen, 1);
  const auto found = find_attribute(std::as_bytes(std::span(good_then_short)), 7);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->string(), "AB");
  EXPECT_EQ(found->u32(), 0u) << "shorter than asked for";
}

TEST(NetlinkRoute, LinksAddressesAndRoutes) {
  in_new_namespace([] {
    auto socket = NetlinkSocket::open(NETLINK_ROUTE);
    ASSERT_TRUE(socket);
    NetlinkBatch batch;
    put_bridge(batch, "br-test", {2, 1, 2, 3, 4, 5}, 1400, "a note");
    ASSERT_TRUE(socket->execute(batch));
    const auto bridge = find_link(*socket, "br-test");
    ASSERT_TRUE(bridge);
    EXPECT_EQ(bridge->kind, "bridge");
    EXPECT_EQ(bridge->alias, "a note");
    EXPECT_EQ(bridge->mtu, 1400u);
    EXPECT_TRUE(bridge->up);
    batch.clear();
    put_address(batch, bridge->index, 0x0a000001, 24);
    put_default_route(batch, 0x0a0000fe);
    ASSERT_TRUE(socket->execute(batch));
    const auto addresses = list_ipv4_addresses(*socket);
    ASSERT_TRUE(addresses);
    ASSERT_EQ(addresses->size(), 1u);
    EXPECT_EQ(addresses->at(0).address, 0x0a000001u);
    EXPECT_EQ(addresses->at(0).prefix_length, 24);
    const auto routes = list_ipv4_routes(*socket);
    ASSERT_TRUE(routes);
    EXPECT_TRUE(std::ranges::any_of(
        *routes, [](const RouteInfo& r) { return r.destination == 0x0a000000 && r.prefix_length == 24; }));
    // Each failure of a batch is told, and the others are done.
    batch.clear();
    put_link_up(batch, 9999);
    put_bridge(batch, "br-two", {2, 1, 2, 3, 4, 6}, 1500, "");
    put_bridge(batch, "br-test", {2, 1, 2, 3, 4, 7}, 1500, "");
    std::vector<NetlinkSocket::Failure> failures;
    EXPECT_FALSE(socket->execute(batch, &failures));
    ASSERT_EQ(failures.size(), 2u);
    EXPECT_EQ(failures[0].index, 0u);
    EXPECT_EQ(failures[0].sys_errno, ENODEV);
    EXPECT_EQ(failures[1].index, 2u);
    EXPECT_EQ(failures[1].sys_errno, EEXIST);
    EXPECT_TRUE(find_link(*socket, "br-two"));
    EXPECT_EQ(find_link(*socket, "nothing").error().kind(), ErrorKind::not_found);
    EXPECT_EQ(find_link(*socket, std::string(300, 'n')).error().kind(), ErrorKind::not_found);
    batch.clear();
    put_delete_link(batch, "br-test");
    put_delete_link(batch, "br-two");
    EXPECT_TRUE(socket->execute(batch));
  });
}

TEST(Nftables, ATransactionIsAllOrNothing) {
  in_new_namespace([] {
    auto socket = NetlinkSocket::open(NETLINK_NETFILTER);
    ASSERT_TRUE(socket);
    NftElement element;
    nft_append_be32(element.key, 0x0a000001);
    element.comment = "whose";
    {
      NftBatch batch(NFPROTO_IPV4, "test");
      batch.add_table();
      batch.add_set({.name = "addresses", .key_type = nft_concat({NftType::ipv4_address}), .key_size = 4});
      batch.add_elements("addresses", std::span(&element, 1));
      ASSERT_TRUE(batch.commit(*socket));
    }
    auto elements = list_nft_elements(*socket, NFPROTO_IPV4, "test", "addresses");
    ASSERT_TRUE(elements);
    ASSERT_EQ(elements->size(), 1u);
    EXPECT_EQ(elements->at(0).key, element.key);
    EXPECT_EQ(elements->at(0).comment, "whose");
    {
      NftBatch batch(NFPROTO_IPV4, "test");
      batch.delete_elements("addresses", std::span(&element, 1));
      batch.delete_elements("no-such-set", std::span(&element, 1));
      const auto result = batch.commit(*socket);
      ASSERT_FALSE(result);
      EXPECT_EQ(result.error().sys_errno(), ENOENT);
    }
    elements = list_nft_elements(*socket, NFPROTO_IPV4, "test", "addresses");
    ASSERT_TRUE(elements);
    EXPECT_EQ(elements->size(), 1u);
    EXPECT_EQ(list_nft_elements(*socket, NFPROTO_IPV4, "test", "none").error().kind(), ErrorKind::not_found);
    NftBatch end(NFPROTO_IPV4, "test");
    end.delete_table();
    EXPECT_TRUE(end.commit(*socket));
    EXPECT_TRUE(list_nft_tables(*socket, NFPROTO_IPV4)->empty());
  });
}

// A container that administers its own namespace can send messages to a socket of ours in there.
TEST(NetlinkSocket, HearsTheKernelOnly) {
  in_new_namespace([] {
    auto socket = NetlinkSocket::open(NETLINK_ROUTE);
    ASSERT_TRUE(socket);
    ASSERT_TRUE(find_link(*socket, 1));  // the first request gives the socket its number
    sockaddr_nl address{};
    socklen_t size = sizeof address;
    ASSERT_EQ(::getsockname(socket->fd(), reinterpret_cast<sockaddr*>(&address), &size), 0);
    const UniqueFd other(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
    // "There is no such link", as the answers to the next few requests.
    for (std::uint32_t sequence = 0; sequence < 8; ++sequence) {
      struct {
        nlmsghdr header;
        nlmsgerr error;
      } forged{{sizeof forged, NLMSG_ERROR, 0, sequence, 0}, {-ENODEV, {}}};
      ASSERT_EQ(::sendto(other.get(), &forged, sizeof forged, 0, reinterpret_cast<const sockaddr*>(&address), size),
                static_cast<ssize_t>(sizeof forged));
    }
    const auto lo = find_link(*socket, 1);
    ASSERT_TRUE(lo) << lo.error().text();
    EXPECT_EQ(lo->name, "lo");
  });
}

// Links come and go while they are listed: what is there all the time is in each list, once.
TEST(NetlinkSocket, AListIsOfOneMoment) {
  in_new_namespace([] {
    auto socket = NetlinkSocket::open(NETLINK_ROUTE);
    ASSERT_TRUE(socket);
    constexpr int count = 40;  // more than one datagram
    NetlinkBatch batch;
    for (int i = 0; i < count; ++i)
      put_bridge(batch, fmt::format("b{}", i), {2, 0, 0, 0, 0, static_cast<std::uint8_t>(i)}, 1500, "");
    ASSERT_TRUE(socket->execute(batch));
    const UniqueFd here(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
    std::atomic<bool> ending = false;
    std::thread changer([&] {
      ASSERT_EQ(::setns(here.get(), CLONE_NEWNET), 0);
      auto second = NetlinkSocket::open(NETLINK_ROUTE);
      ASSERT_TRUE(second);
      while (!ending) {
        NetlinkBatch change;
        put_bridge(change, "aaa", {2, 0, 0, 0, 1, 0}, 1500, "");
        put_delete_link(change, "aaa");
        EXPECT_TRUE(second->execute(change));
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
      }
    });
    for (int round = 0; round < 10; ++round) {
      const auto links = list_links(*socket);
      EXPECT_TRUE(links);
      std::set<std::string> names;
      for (const LinkInfo& link : *links) names.insert(link.name);
      for (int i = 0; i < count; ++i) EXPECT_TRUE(names.contains(fmt::format("b{}", i))) << i;
    }
    ending = true;
    changer.join();
    batch.clear();
    for (int i = 0; i < count; ++i) put_delete_link(batch, fmt::format("b{}", i));
    EXPECT_TRUE(socket->execute(batch));
  });
}

}  // namespace
}  // namespace corten::sys
