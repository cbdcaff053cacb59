#include "network/files.h"

#include <gtest/gtest.h>

namespace corten::network {
namespace {

TEST(HostsFile, HasLocalhostThenExtraThenOwn) {
  const std::vector<HostsEntry> own{{"172.17.0.2", "web.example web"}}, extra{{"10.0.0.1", "db"}};
  EXPECT_EQ(hosts_file(own, extra, false), "127.0.0.1\tlocalhost\n10.0.0.1\tdb\n172.17.0.2\tweb.example web\n");
  EXPECT_NE(hosts_file(own, extra).find("::1\tlocalhost ip6-localhost ip6-loopback\n"), std::string::npos);
}

TEST(HostsFile, ExtraHosts) {
  EXPECT_EQ(parse_extra_host("db:10.0.0.1", "")->address, "10.0.0.1");
  EXPECT_EQ(parse_extra_host("db=10.0.0.1", "")->names, "db");
  EXPECT_EQ(parse_extra_host("six:::1", "")->address, "::1");
  EXPECT_EQ(parse_extra_host("six:[2001:db8::1]", "")->address, "2001:db8::1");
  EXPECT_EQ(parse_extra_host("up:host-gateway", "172.17.0.1")->address, "172.17.0.1");
  for (const char* text : {"", "db", "db:", ":10.0.0.1", "db:10.0.0", "a b:10.0.0.1", "a\n6.6.6.6 b:10.0.0.1",
                           "db:10.0.0.1\n1.1.1.1 evil", "up:host-gateway"})
    EXPECT_FALSE(parse_extra_host(text, "")) << text;
}

TEST(ResolvFile, KeepsWhatAContainerCanReach) {
  EXPECT_EQ(resolv_file("# comment\nnameserver 10.0.0.53\nnameserver 127.0.0.53\nnameserver ::1\n"
                        "nameserver 2001:db8::53\nsearch a.example b.example\noptions ndots:2 rotate\n",
                        {}),
            "nameserver 10.0.0.53\nsearch a.example b.example\noptions ndots:2 rotate\n");
  EXPECT_EQ(resolv_file("nameserver 2001:db8::53\nnameserver fe80::1%eth0\n", {}, true), "nameserver 2001:db8::53\n");
  EXPECT_EQ(resolv_file("nameserver 127.0.0.1\n", {}), "nameserver 8.8.8.8\nnameserver 8.8.4.4\n");
  EXPECT_EQ(resolv_file("", {}), "nameserver 8.8.8.8\nnameserver 8.8.4.4\n");
  EXPECT_EQ(resolv_file("domain one\nsearch two\r\nnameserver\t10.0.0.1", {}), "nameserver 10.0.0.1\nsearch two\n");
}

TEST(ResolvFile, FlagsReplaceTheHosts) {
  EXPECT_EQ(resolv_file("nameserver 10.0.0.53\nsearch a\noptions x\n",
                        {.servers = {"127.0.0.1", "9.9.9.9"}, .search = {"s"}, .options = {"ndots:1"}}),
            "nameserver 127.0.0.1\nnameserver 9.9.9.9\nsearch s\noptions ndots:1\n");
  EXPECT_EQ(resolv_file("nameserver 10.0.0.53\nsearch a\n", {.search = {"."}}), "nameserver 10.0.0.53\n");
}

TEST(ResolvFile, HostileTextStaysBounded) {
  std::string many;
  for (int i = 0; i < 100000; ++i) many += "nameserver 10.0.0.1\noptions a b c d e f g\n";
  EXPECT_LT(resolv_file(many, {}).size(), 16u * 1024);
  EXPECT_EQ(resolv_file(std::string(1000, '\0') + "\nnameserver", {}), "nameserver 8.8.8.8\nnameserver 8.8.4.4\n");
}

TEST(HostnameFile, IsOneLine) { EXPECT_EQ(hostname_file("web"), "web\n"); }

}  // namespace
}  // namespace corten::network
