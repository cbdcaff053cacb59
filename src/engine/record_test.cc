#include "engine/record.h"

#include <gtest/gtest.h>

namespace corten::engine {
namespace {

Definition sample() {
  Definition d;
  d.id = std::string(64, 'a');
  d.name = "web";
  d.created = Timestamp(std::chrono::nanoseconds(1'700'000'000'123'456'789));
  d.image_id = "sha256:" + std::string(64, 'b');
  d.image_ref = "nginx";
  d.config.env = {"A=1"};
  d.config.cmd = spec::Command{{"nginx", "-g"}};
  d.host_config.memory = 1 << 20;
  d.host_config.restart_policy = {"on-failure", 3};
  d.path = "nginx";
  d.args = {"-g"};
  d.snapshot_key = d.id;
  MountPoint point;
  point.type = "bind";
  point.destination = "/data";
  d.mounts.push_back(point);
  return d;
}

TEST(SpecRecord, RoundTrip) {
  MountDetail detail;
  detail.type = "bind";
  detail.source = "/srv";
  detail.destination = "/data";
  const auto read = decode_spec(encode_spec(sample(), {detail}));
  ASSERT_TRUE(read) << read.error().text();
  EXPECT_EQ(read->definition.created, sample().created);
  EXPECT_EQ(read->definition.name, "web");
  EXPECT_EQ(read->definition.host_config.restart_policy.maximum_retry_count, 3);
  ASSERT_TRUE(read->definition.config.cmd);
  EXPECT_EQ(read->definition.config.cmd->args.size(), 2U);
  EXPECT_FALSE(read->definition.config.entrypoint);
  ASSERT_EQ(read->mounts.size(), 1U);
  EXPECT_EQ(read->mounts[0].source, "/srv");
}

TEST(SpecRecord, DamagedTextIsAnError) {
  const std::string text = encode_spec(sample(), {});
  EXPECT_FALSE(decode_spec(""));
  EXPECT_FALSE(decode_spec("{}"));
  EXPECT_FALSE(decode_spec(text.substr(0, text.size() / 2)));
  EXPECT_FALSE(decode_spec("[1,2]"));
}

TEST(StateRecord, RoundTrip) {
  StateRecord record;
  record.state.status = Status::running;
  record.state.pid = 42;
  record.state.started_at = Timestamp(std::chrono::nanoseconds(5));
  record.state.has_been_manually_stopped = true;
  record.restart_count = 2;
  record.cgroup_path = "corten/x";
  network::EndpointInfo endpoint;
  endpoint.address = *network::parse_ipv4("172.17.0.5");
  endpoint.gateway = *network::parse_ipv4("172.17.0.1");
  endpoint.prefix_length = 16;
  network::PublishedPort port;
  port.container_port = 80;
  port.host_port = 8080;
  port.host_ip = *network::parse_ip("::");
  endpoint.ports.push_back(port);
  record.endpoint = endpoint;
  const auto read = decode_state(encode_state(record));
  ASSERT_TRUE(read) << read.error().text();
  EXPECT_EQ(read->state.status, Status::running);
  EXPECT_EQ(read->state.pid, 42);
  EXPECT_TRUE(read->state.has_been_manually_stopped);
  EXPECT_EQ(read->restart_count, 2);
  ASSERT_TRUE(read->endpoint);
  EXPECT_EQ(read->endpoint->address, endpoint.address);
  EXPECT_EQ(read->endpoint->ports, endpoint.ports);
  EXPECT_EQ(read->cgroup_path, "corten/x");
}

TEST(StateRecord, DamagedTextIsAnError) {
  EXPECT_FALSE(decode_state("{\"Status\":\"flying\"}"));
  EXPECT_FALSE(decode_state("{\"Status\":1}"));
  EXPECT_FALSE(decode_state("{\"Endpoint\":{\"Address\":\"nonsense\"}}"));
}

}  // namespace
}  // namespace corten::engine
