#include "runtime/launch_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <random>

namespace corten::runtime {
namespace {

using ::testing::HasSubstr;

LaunchPlan full_plan() {
  LaunchPlan plan;
  plan.id = "abc";
  plan.namespaces[2] = {NamespaceMode::join, 3, ""};
  plan.namespaces[5] = {NamespaceMode::join, no_fd, "/proc/1/ns/uts"};
  plan.uid_maps = {{0, 1000, 10}};
  plan.cgroup = {1, {0, 2}};
  plan.root = {0, "", true, 7, false};
  MountPlan mount;
  mount.kind = MountKind::bind;
  mount.target = "/data";
  mount.tree = 4;
  mount.set = 1;
  mount.parameters = {{"size", "1", false, -1}, {"flag", "", true, -1}};
  plan.mounts = {mount};
  plan.devices = {{"/dev/x", 1, 2, 3, 4, 5}};
  plan.masked_paths = {"/proc/kcore"};
  plan.sysctls = {{"net/a", "1"}};
  plan.time_offsets = {{7, -1, 2}};
  plan.process.args = {"sh", "-c", "x"};
  plan.process.umask = 077;
  plan.process.capabilities = sys::CapabilitySets{1, 2, 3, 4, 5};
  plan.process.rlimits = {{7, 1, 2}};
  plan.process.seccomp = {1, 2, 3, 4, 5, 6, 7, 8};
  plan.process.scheduler = SchedulerPlan{};
  plan.process.extra_fds = {{1, 7}};
  plan.create_container_hooks = {{"/hook", {"a"}, {"b"}, 3}};
  return plan;
}

TEST(LaunchPlan, SurvivesTheWay) {
  const auto bytes = serialise(full_plan());
  const auto plan = parse_launch_plan(bytes, 5);
  ASSERT_TRUE(plan) << plan.error().text();
  EXPECT_EQ(serialise(*plan), bytes);
  EXPECT_EQ(plan->mounts[0].parameters[1].key, "flag");
  EXPECT_EQ(plan->process.capabilities->ambient, 5U);
  EXPECT_EQ(plan->process.umask, 077U);
  ExecPlan exec;
  exec.process = plan->process;
  exec.namespaces = 12345;
  const auto again = parse_exec_plan(serialise(exec), 5);
  ASSERT_TRUE(again);
  EXPECT_EQ(again->namespaces, 12345U);
}

TEST(LaunchPlan, DescriptorsMustBeThere) {
  EXPECT_THAT(parse_launch_plan(serialise(full_plan()), 4).error().text(),
              HasSubstr("a descriptor that did not come along"));
}

TEST(LaunchPlan, EveryTruncationIsRefused) {
  const auto bytes = serialise(full_plan());
  for (std::size_t size = 0; size < bytes.size(); ++size)
    ASSERT_FALSE(parse_launch_plan(std::span(bytes).first(size), 5)) << size;
  auto longer = bytes;
  longer.push_back(std::byte{});
  EXPECT_THAT(parse_launch_plan(longer, 5).error().text(), HasSubstr("too many"));
}

TEST(LaunchPlan, OtherKindsAndVersionsAreRefused) {
  auto bytes = serialise(full_plan());
  EXPECT_FALSE(parse_exec_plan(bytes, 5));
  bytes[4] = std::byte{99};
  EXPECT_THAT(parse_launch_plan(bytes, 5).error().text(), HasSubstr("version 99"));
  EXPECT_FALSE(parse_launch_plan({}, 0));
}

TEST(LaunchPlan, NulBytesInTextsAreRefused) {
  auto plan = full_plan();
  plan.hostname = std::string("a\0b", 3);
  EXPECT_THAT(parse_launch_plan(serialise(plan), 5).error().text(), HasSubstr("NUL"));
}

TEST(LaunchPlan, DamagedBytesNeverCrash) {
  const auto good = serialise(full_plan());
  std::mt19937 random(1);
  for (int i = 0; i < 20000; ++i) {
    auto bytes = good;
    for (int k = 0; k < 4; ++k) bytes[9 + random() % (bytes.size() - 9)] = static_cast<std::byte>(random());
    const auto plan = parse_launch_plan(bytes, 5);
    if (plan) {
      EXPECT_FALSE(serialise(*plan).empty());
    }
  }
}

}  // namespace
}  // namespace corten::runtime
