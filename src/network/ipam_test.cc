#include "network/ipam.h"

#include <gtest/gtest.h>

#include <set>
#include <thread>

namespace corten::network {
namespace {

Ipv4Prefix prefix(const char* text) { return *parse_ipv4_prefix(text); }
Ipv4 ip(const char* text) { return *parse_ipv4(text); }

TEST(Ipam, GivesEachAddressOnceAndTheLastReturnedLast) {
  const std::vector<Ipv4> reserved{ip("10.0.0.1")};
  Ipam ipam(prefix("10.0.0.0/29"), prefix("10.0.0.0/29"), reserved);
  EXPECT_EQ(ipam.take(), ip("10.0.0.2"));
  EXPECT_EQ(ipam.take(), ip("10.0.0.3"));
  ipam.give(ip("10.0.0.2"));
  EXPECT_EQ(ipam.take(), ip("10.0.0.4"));
  EXPECT_EQ(ipam.take(), ip("10.0.0.5"));
  EXPECT_EQ(ipam.take(), ip("10.0.0.6"));
  EXPECT_EQ(ipam.take(), ip("10.0.0.2"));
  EXPECT_EQ(ipam.take(), std::nullopt);
  EXPECT_EQ(ipam.used(), 5u);
  ipam.give(ip("10.0.0.4"));
  ipam.give(ip("10.0.0.4"));
  EXPECT_EQ(ipam.used(), 4u);
  EXPECT_EQ(ipam.take(), ip("10.0.0.4"));
}

TEST(Ipam, SpecificAddresses) {
  const std::vector<Ipv4> reserved{ip("10.0.0.1"), ip("10.9.9.9")};
  Ipam ipam(prefix("10.0.0.0/16"), prefix("10.0.5.0/24"), reserved);
  EXPECT_EQ(ipam.take(), ip("10.0.5.0"));  // an inner part of a network has no special addresses
  EXPECT_TRUE(ipam.take(ip("10.0.77.1"))) << "outside the range, inside the network";
  EXPECT_EQ(ipam.take(ip("10.0.77.1")).error().kind(), ErrorKind::conflict);
  EXPECT_EQ(ipam.take(ip("10.0.0.1")).error().kind(), ErrorKind::conflict);
  EXPECT_EQ(ipam.take(ip("10.0.0.0")).error().kind(), ErrorKind::conflict);
  EXPECT_EQ(ipam.take(ip("10.0.255.255")).error().kind(), ErrorKind::conflict);
  EXPECT_EQ(ipam.take(ip("10.1.0.5")).error().kind(), ErrorKind::invalid);
}

TEST(Ipam, SmallestAndLargestNetworks) {
  Ipam one(prefix("10.0.0.4/32"), prefix("10.0.0.4/32"), {});
  EXPECT_EQ(one.take(), ip("10.0.0.4"));
  EXPECT_EQ(one.take(), std::nullopt);
  Ipam two(prefix("10.0.0.4/31"), prefix("10.0.0.4/31"), {});
  EXPECT_TRUE(two.take());
  EXPECT_TRUE(two.take());
  EXPECT_EQ(two.take(), std::nullopt);
  Ipam all(prefix("0.0.0.0/0"), prefix("255.255.255.0/24"), {});
  for (int i = 0; i < 255; ++i) EXPECT_TRUE(all.take());
  EXPECT_EQ(all.take(), std::nullopt) << "the broadcast address is not for containers";
}

TEST(Ipam, ManyThreads) {
  Ipam ipam(prefix("10.0.0.0/22"), prefix("10.0.0.0/22"), {});
  std::vector<std::vector<Ipv4>> taken(4);
  {
    std::vector<std::jthread> threads;
    for (auto& list : taken)
      threads.emplace_back([&] {
        for (int i = 0; i < 255; ++i) list.push_back(*ipam.take());
      });
  }
  std::set<Ipv4> distinct;
  for (const auto& list : taken) distinct.insert(list.begin(), list.end());
  EXPECT_EQ(distinct.size(), 1020u);
}

}  // namespace
}  // namespace corten::network
