#include "network/host_firewall.h"

#include <linux/netfilter.h>

#include "sys/netlink.h"
#include "sys/nftables.h"

namespace corten::network {
namespace {

std::string for_each_bridge(std::span<const std::string> bridges, std::string_view pattern) {
  std::string text;
  for (const std::string& bridge : bridges)
    text += (text.empty() ? "" : "; ") + fmt::format(fmt::runtime(pattern), bridge);
  return text;
}

}  // namespace

Result<std::vector<std::string>> forwarding_obstacles(const std::string& own_table,
                                                      std::span<const std::string> bridges) {
  std::vector<std::string> obstacles;
  auto socket = TRY(sys::NetlinkSocket::open(NETLINK_NETFILTER));
  for (const std::uint8_t family : {NFPROTO_IPV4, NFPROTO_INET}) {
    for (const sys::NftBaseChain& chain : TRY(sys::list_nft_base_chains(socket, family))) {
      if (chain.hook != sys::NftHook::forward || chain.table == own_table) continue;
      // Docker sets this policy when it switches forwarding on.
      if (chain.drops && chain.table == "filter" && chain.name == "FORWARD")
        obstacles.push_back(fmt::format(
            "the host's firewall drops forwarded packets (iptables, chain FORWARD): allow the containers' with {}",
            for_each_bridge(bridges, "iptables -I FORWARD -i {0} -j ACCEPT; iptables -I FORWARD -o {0} -j ACCEPT")));
      else if (chain.drops)
        obstacles.push_back(
            fmt::format("the host's firewall drops forwarded packets (nftables table {}, chain {}): allow those from "
                        "and to {} there",
                        chain.table, chain.name, for_each_bridge(bridges, "{}")));
      else if (chain.table == "firewalld")
        obstacles.push_back(
            fmt::format("firewalld rejects forwarded packets of unknown interfaces: allow the containers' with {}",
                        for_each_bridge(bridges, "firewall-cmd --zone=trusted --add-interface={}")));
    }
  }
  return obstacles;
}

}  // namespace corten::network
