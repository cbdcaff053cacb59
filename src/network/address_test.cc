#include "network/address.h"

#include <gtest/gtest.h>

namespace corten::network {
namespace {

TEST(Address, TextAndBack) {
  for (const char* text : {"0.0.0.0", "172.17.0.1", "255.255.255.255"}) EXPECT_EQ(to_string(*parse_ipv4(text)), text);
  EXPECT_EQ(parse_ipv4("1.2.3.4")->value, 0x01020304u);
  EXPECT_EQ(to_string(*parse_ipv4_prefix("10.0.0.7/8")), "10.0.0.7/8");
  EXPECT_EQ(to_string(*parse_ip("::")), "::");
  EXPECT_EQ(to_string(*parse_ip("[2001:DB8::1]")), "2001:db8::1");
  EXPECT_EQ(to_string(*parse_mac("02-42-AC-11-00-02")), "02:42:ac:11:00:02");
  EXPECT_EQ(to_string(mac_for(*parse_ipv4("172.17.0.2"))), "02:42:ac:11:00:02");
}

TEST(Address, BadTextIsRefused) {
  for (const char* text : {"", "1", "1.2.3", "1.2.3.4.5", "1.2.3.256", "01.2.3.4", "1.2.3.4 ", " 1.2.3.4", "1..3.4",
                           "1.2.3.-4", "1.2.3.4/8", "0x1.2.3.4", "1111.2.3.4", "a.b.c.d"})
    EXPECT_FALSE(parse_ipv4(text)) << text;
  for (const char* text : {"", "1.2.3.4", "1.2.3.4/", "1.2.3.4/33", "1.2.3.4/-1", "1.2.3/8", "1.2.3.4/08", "/8"})
    EXPECT_FALSE(parse_ipv4_prefix(text)) << text;
  for (const char* text : {"", "[", "[]", "[1.2.3.4]x", ":::", "fe80::1%eth0", "g::", "1:2:3:4:5:6:7:8:9"})
    EXPECT_FALSE(parse_ip(text)) << text;
  for (const char* text :
       {"", "02:42:ac:11:00", "02:42:ac:11:00:0g", "02:42-ac:11:00:02", "0242ac110002", "02:42:ac:11:00:02:"})
    EXPECT_FALSE(parse_mac(text)) << text;
  EXPECT_FALSE(parse_ip(std::string(10000, ':')));
}

TEST(Address, PrefixesKnowWhatTheyContain) {
  const Ipv4Prefix prefix = *parse_ipv4_prefix("10.1.2.3/20");
  EXPECT_EQ(to_string(prefix.network()), "10.1.0.0");
  EXPECT_EQ(to_string(prefix.broadcast()), "10.1.15.255");
  EXPECT_TRUE(prefix.contains(*parse_ipv4("10.1.15.255")));
  EXPECT_FALSE(prefix.contains(*parse_ipv4("10.1.16.0")));
  EXPECT_TRUE(prefix.overlaps(*parse_ipv4_prefix("10.0.0.0/8")));
  EXPECT_TRUE(parse_ipv4_prefix("10.0.0.0/8")->overlaps(prefix));
  EXPECT_FALSE(prefix.overlaps(*parse_ipv4_prefix("10.1.16.0/20")));
  EXPECT_TRUE(prefix.overlaps(*parse_ipv4_prefix("0.0.0.0/0")));
}

}  // namespace
}  // namespace corten::network
