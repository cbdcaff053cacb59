#include "network/firewall.h"

#include <tuple>

#include "network/host_firewall.h"
#include "network/network_fixture.h"

namespace corten::network {
namespace {

constexpr const char* table = "firewall-test";

class FirewallTest : public testing::Test {
 protected:
  void SetUp() override {
    if (::unshare(CLONE_NEWNET) != 0) GTEST_SKIP() << "needs CAP_SYS_ADMIN to make network namespaces";
    netfilter_ = must(sys::NetlinkSocket::open(NETLINK_NETFILTER));
  }
  std::vector<std::string> tables() { return must(sys::list_nft_tables(netfilter_, NFPROTO_IPV4)); }
  std::size_t published() { return must(sys::list_nft_elements(netfilter_, NFPROTO_IPV4, table, "ports_any")).size(); }

  sys::NetlinkSocket netfilter_;
  const FirewallNetwork network_{.link = "corten0", .prefix = {{172u << 24 | 17u << 16}, 16}};
  const FirewallPort port_{.host_port = 8080, .container_ip = {172u << 24 | 17u << 16 | 2}, .container_port = 80};
};

// A daemon without networks runs on a kernel without nf_tables, too, and clears what an earlier one left.
TEST_F(FirewallTest, WithoutANetworkThereIsNoTable) {
  sys::NftBatch left(NFPROTO_IPV4, table);
  left.add_table();
  must(left.commit(netfilter_));
  Firewall firewall(table);
  must(firewall.start());
  must(firewall.watch());
  EXPECT_THAT(tables(), testing::IsEmpty());
  EXPECT_FALSE(must(firewall.restore_if_gone()));
  must(firewall.add_network(network_));
  EXPECT_THAT(tables(), testing::ElementsAre(table));
  must(firewall.watch());
  must(firewall.remove_all());
  EXPECT_THAT(tables(), testing::IsEmpty());
}

// Whatever others did to the table: a change to it ends with what is recorded, and touches no other table.
TEST_F(FirewallTest, ATableChangedByOthersIsProgrammedAgain) {
  sys::NftBatch foreign(NFPROTO_IPV4, "foreign");
  foreign.add_table();
  must(foreign.commit(netfilter_));
  Firewall firewall(table);
  must(firewall.add_network(network_));
  must(firewall.start());
  sys::NftElement stale;
  sys::nft_append_u8(stale.key, IPPROTO_TCP);
  sys::nft_append_be16(stale.key, port_.host_port);
  sys::nft_append_be32(stale.data, 1);
  sys::nft_append_be16(stale.data, 1);
  sys::NftBatch add(NFPROTO_IPV4, table);
  add.add_elements("ports_any", std::span(&stale, 1));
  must(add.commit(netfilter_));
  must(firewall.add_ports(std::span(&port_, 1)));
  auto elements = must(sys::list_nft_elements(netfilter_, NFPROTO_IPV4, table, "ports_any"));
  ASSERT_EQ(elements.size(), 1u);
  EXPECT_NE(elements[0].data, stale.data);
  sys::NftBatch take(NFPROTO_IPV4, table);
  take.delete_elements("ports_any", elements);
  must(take.commit(netfilter_));
  must(firewall.remove_ports(std::span(&port_, 1)));
  EXPECT_EQ(published(), 0u);
  must(firewall.add_ports(std::span(&port_, 1)));
  EXPECT_EQ(published(), 1u);
  must(firewall.remove_all());
  EXPECT_THAT(tables(), testing::ElementsAre("foreign"));
}

TEST_F(FirewallTest, ForeignFirewallsInTheWayAreNamed) {
  const std::vector<std::string> bridges{"corten0"};
  Firewall firewall(table);
  must(firewall.add_network(network_));
  must(firewall.start());
  EXPECT_THAT(must(forwarding_obstacles(table, bridges)), testing::IsEmpty());
  for (const auto& [name, chain, drop] : {std::tuple{"filter", "FORWARD", true},
                                          {"mine", "fw", true},
                                          {"open", "fw", false},
                                          {"firewalld", "f", false}}) {
    sys::NftBatch foreign(NFPROTO_IPV4, name);
    foreign.add_table();
    foreign.add_base_chain(chain, "filter", sys::NftHook::forward, 0, drop);
    must(foreign.commit(netfilter_));
  }
  EXPECT_THAT(must(forwarding_obstacles(table, bridges)),
              testing::UnorderedElementsAre(HasSubstr("iptables -I FORWARD -o corten0 -j ACCEPT"),
                                            HasSubstr("nftables table mine, chain fw"),
                                            HasSubstr("firewall-cmd --zone=trusted --add-interface=corten0")));
}

TEST(FirewallFailure, AKernelWithoutNfTablesIsToldInWords) {
  for (const int number : {EPROTONOSUPPORT, EOPNOTSUPP, ENOENT}) {
    const Error error = explain_firewall_failure(Error(ErrorKind::internal, "change nftables table x", number));
    EXPECT_THAT(error.text(), HasSubstr("nf_tables"));
    EXPECT_THAT(error.text(), HasSubstr("--bridge none"));
    EXPECT_EQ(error.sys_errno(), number);
  }
  EXPECT_EQ(explain_firewall_failure(Error(ErrorKind::forbidden, "no", EPERM)).text(), "no");
}

}  // namespace
}  // namespace corten::network
