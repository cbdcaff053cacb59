#include "engine/ports.h"

#include <gtest/gtest.h>

namespace corten::engine {
namespace {

TEST(ContainerPort, GoodAndBad) {
  EXPECT_EQ(parse_container_port("80/tcp")->port, 80);
  EXPECT_EQ(parse_container_port("53/udp")->protocol, network::Protocol::udp);
  EXPECT_EQ(parse_container_port("80")->protocol, network::Protocol::tcp);
  for (const char* bad : {"", "/tcp", "0/tcp", "65536/tcp", "80/icmp", "80-81/tcp", "x", "-1/tcp"}) {
    const auto result = parse_container_port(bad);
    ASSERT_FALSE(result) << bad;
    EXPECT_EQ(result.error().kind(), ErrorKind::invalid) << bad;
  }
}

TEST(PortRequests, BindingsRangesAndPublishAll) {
  spec::ContainerConfig config;
  config.exposed_ports = {{"80/tcp", {}}, {"443/tcp", {}}};
  spec::HostConfig host;
  host.port_bindings["80/tcp"] = {{"127.0.0.1", "8080"}, {"", "9000-9010"}};
  host.publish_all_ports = true;
  const auto requests = port_requests(config, host);
  ASSERT_TRUE(requests);
  ASSERT_EQ(requests->size(), 3U);
  EXPECT_EQ((*requests)[0].host_ip, "127.0.0.1");
  EXPECT_EQ((*requests)[0].host_port, 8080);
  EXPECT_EQ((*requests)[1].host_port_end, 9010);
  EXPECT_EQ((*requests)[2].container_port, 443);
  EXPECT_EQ((*requests)[2].host_port, 0);
}

TEST(PortRequests, BadHostPorts) {
  for (const char* bad : {"x", "70000", "10-5", "80-", "-80", "0-5"}) {
    spec::HostConfig host;
    host.port_bindings["80/tcp"] = {{"", bad}};
    EXPECT_FALSE(port_requests({}, host)) << bad;
  }
}

}  // namespace
}  // namespace corten::engine
