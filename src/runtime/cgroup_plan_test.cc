#include "runtime/cgroup_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

namespace corten::runtime {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

const sys::CgroupHost v1_host({{false, "/c/cpu", {"cpu", "cpuacct"}},
                               {false, "/c/cpuset", {"cpuset"}},
                               {false, "/c/memory", {"memory"}},
                               {false, "/c/devices", {"devices"}},
                               {false, "/c/blkio", {"blkio"}},
                               {false, "/c/pids", {"pids"}},
                               {false, "/c/net", {"net_cls", "net_prio"}},
                               {false, "/c/hugetlb", {"hugetlb"}}});
const sys::CgroupHost v2_host({{true, "/c", {"cpu", "cpuset", "memory", "io", "pids", "hugetlb", "rdma"}}});
const sys::CgroupHost hybrid_host({{false, "/c/memory", {"memory"}}, {true, "/c/unified", {"hugetlb"}}});

sys::CgroupFeatures all_features(bool v2) {
  sys::CgroupFeatures features;
  features.memory_limit = features.swap_limit = features.memory_reservation = true;
  features.memory_swappiness = features.kernel_memory_tcp = features.oom_kill_disable = !v2;
  features.cpu_shares = features.cpu_cfs = features.cpu_idle = features.cpu_burst = features.cpuset = true;
  features.cpu_realtime = !v2;
  features.pids_limit = features.blkio_throttle = features.hugetlb = features.devices = features.freezer = true;
  features.blkio_weight = v2 ? "io.weight" : "blkio.bfq.weight";
  features.blkio_weight_device = v2 ? "io.weight" : "blkio.bfq.weight_device";
  return features;
}

std::vector<std::string> lines(const CgroupPlan& plan) {
  std::vector<std::string> out;
  for (const auto& setting : plan.settings)
    out.push_back(setting.controller + ": " + setting.file + "=" + setting.value);
  return out;
}

CgroupPlan plan(std::string_view json, const sys::CgroupHost& host, const sys::CgroupFeatures& features) {
  const auto resources = oci::parse_resources(json);
  EXPECT_TRUE(resources) << resources.error().text();
  const auto made = plan_cgroup(*resources, host, features, Unsupported::warn);
  EXPECT_TRUE(made) << made.error().text();
  return made.value_or(CgroupPlan{});
}
CgroupPlan v1(std::string_view json) { return plan(json, v1_host, all_features(false)); }
CgroupPlan v2(std::string_view json) { return plan(json, v2_host, all_features(true)); }

TEST(CgroupPlan, Cpu) {
  constexpr auto json =
      R"({"cpu":{"shares":512,"quota":50000,"burst":1000,"period":100000,"cpus":"0-1","mems":"0","idle":1}})";
  EXPECT_THAT(lines(v1(json)), ElementsAre("cpu: cpu.shares=512", "cpu: cpu.cfs_period_us=100000",
                                           "cpu: cpu.cfs_quota_us=50000", "cpu: cpu.cfs_burst_us=1000",
                                           "cpu: cpu.idle=1", "cpuset: cpuset.cpus=0-1", "cpuset: cpuset.mems=0"));
  EXPECT_THAT(lines(v2(json)), ElementsAre("cpu: cpu.weight=20", "cpu: cpu.max=50000 100000", "cpu: cpu.max.burst=1000",
                                           "cpu: cpu.idle=1", "cpuset: cpuset.cpus=0-1", "cpuset: cpuset.mems=0"));
  EXPECT_THAT(lines(v2(R"({"cpu":{"quota":-1}})")), ElementsAre("cpu: cpu.max=max"));
  EXPECT_THAT(lines(v2(R"({"cpu":{"period":5000}})")), ElementsAre("cpu: cpu.max=max 5000"));
  EXPECT_THAT(lines(v1(R"({"cpu":{"quota":-1}})")), ElementsAre("cpu: cpu.cfs_quota_us=-1"));
  EXPECT_THAT(lines(v1(R"({"cpu":{"shares":0,"quota":0,"period":0}})")), IsEmpty());
  EXPECT_THAT(lines(v1(R"({"cpu":{"realtimeRuntime":9,"realtimePeriod":10}})")),
              ElementsAre("cpu: cpu.rt_period_us=10", "cpu: cpu.rt_runtime_us=9"));
  EXPECT_THAT(v2(R"({"cpu":{"realtimeRuntime":9}})").warnings, ElementsAre(HasSubstr("real-time")));
}

TEST(CgroupPlan, WeightsKeepRatioAndRange) {
  EXPECT_EQ(cpu_weight_of_shares(0), 1U);
  EXPECT_EQ(cpu_weight_of_shares(2), 1U);
  EXPECT_EQ(cpu_weight_of_shares(1024), 39U);
  EXPECT_EQ(cpu_weight_of_shares(262144), 10000U);
  EXPECT_EQ(cpu_weight_of_shares(UINT64_MAX), 10000U);
  EXPECT_EQ(io_weight_of_blkio(10), 1U);
  EXPECT_EQ(io_weight_of_blkio(1000), 10000U);
}

TEST(CgroupPlan, Memory) {
  constexpr auto json = R"({"memory":{"limit":100,"swap":150,"reservation":50}})";
  EXPECT_THAT(lines(v1(json)),
              ElementsAre("memory: memory.limit_in_bytes=100", "memory: memory.memsw.limit_in_bytes=150",
                          "memory: memory.soft_limit_in_bytes=50"));
  EXPECT_THAT(lines(v2(json)),
              ElementsAre("memory: memory.max=100", "memory: memory.swap.max=50", "memory: memory.low=50"));
  EXPECT_THAT(lines(v1(R"({"memory":{"limit":-1,"swap":-1}})")),
              ElementsAre("memory: memory.limit_in_bytes=-1", "memory: memory.memsw.limit_in_bytes=-1"));
  EXPECT_THAT(lines(v2(R"({"memory":{"limit":-1}})")),
              ElementsAre("memory: memory.max=max", "memory: memory.swap.max=max"));
  EXPECT_THAT(lines(v2(R"({"memory":{"limit":100,"swap":100}})")),
              ElementsAre("memory: memory.max=100", "memory: memory.swap.max=0"));
  EXPECT_THAT(lines(v2(R"({"memory":{"limit":100,"swap":-1}})")),
              ElementsAre("memory: memory.max=100", "memory: memory.swap.max=max"));
  EXPECT_THAT(lines(v1(R"({"memory":{"swappiness":0,"disableOOMKiller":true,"kernelTCP":7,"kernel":9}})")),
              ElementsAre("memory: memory.swappiness=0", "memory: memory.kmem.tcp.limit_in_bytes=7",
                          "memory: memory.oom_control=1"));
  const auto v2_lacks = v2(R"({"memory":{"swappiness":60,"disableOOMKiller":true}})");
  EXPECT_THAT(lines(v2_lacks), IsEmpty());
  EXPECT_THAT(v2_lacks.warnings, ElementsAre(HasSubstr("swappiness"),
                                             "Your kernel does not support OomKillDisable. OomKillDisable discarded."));
}

TEST(CgroupPlan, PidsBlockIoAndTheRest) {
  EXPECT_THAT(lines(v1(R"({"pids":{"limit":10}})")), ElementsAre("pids: pids.max=10"));
  EXPECT_THAT(lines(v2(R"({"pids":{"limit":-1}})")), ElementsAre("pids: pids.max=max"));
  EXPECT_THAT(lines(v1(R"({"pids":{"limit":0}})")), IsEmpty());
  constexpr auto io =
      R"({"blockIO":{"weight":500,"weightDevice":[{"major":8,"minor":0,"weight":1000}],
          "throttleReadBpsDevice":[{"major":8,"minor":0,"rate":1}],"throttleWriteBpsDevice":[{"major":8,"minor":0,"rate":2}],
          "throttleReadIOPSDevice":[{"major":8,"minor":0,"rate":3}],"throttleWriteIOPSDevice":[{"major":8,"minor":0,"rate":0}]}})";
  EXPECT_THAT(
      lines(v1(io)),
      ElementsAre("blkio: blkio.bfq.weight=500", "blkio: blkio.bfq.weight_device=8:0 1000",
                  "blkio: blkio.throttle.read_bps_device=8:0 1", "blkio: blkio.throttle.write_bps_device=8:0 2",
                  "blkio: blkio.throttle.read_iops_device=8:0 3", "blkio: blkio.throttle.write_iops_device=8:0 0"));
  EXPECT_THAT(lines(v2(io)),
              ElementsAre("io: io.weight=4950", "io: io.weight=8:0 10000", "io: io.max=8:0 rbps=1",
                          "io: io.max=8:0 wbps=2", "io: io.max=8:0 riops=3", "io: io.max=8:0 wiops=max"));
  constexpr auto huge = R"({"hugepageLimits":[{"pageSize":"2MB","limit":9}]})";
  EXPECT_THAT(lines(v1(huge)), ElementsAre("hugetlb: hugetlb.2MB.limit_in_bytes=9"));
  EXPECT_THAT(lines(v2(huge)), ElementsAre("hugetlb: hugetlb.2MB.max=9"));
  EXPECT_THAT(lines(plan(huge, hybrid_host, all_features(false))), ElementsAre("hugetlb: hugetlb.2MB.max=9"));
  EXPECT_THAT(needed_controllers(*oci::parse_resources(huge)), ElementsAre("hugetlb"));
  constexpr auto net = R"({"network":{"classID":5,"priorities":[{"name":"lo","priority":2}]}})";
  EXPECT_THAT(lines(v1(net)), ElementsAre("net_cls: net_cls.classid=5", "net_prio: net_prio.ifpriomap=lo 2"));
  EXPECT_EQ(v2(net).warnings.size(), 2U);
  EXPECT_THAT(lines(v2(R"({"rdma":{"mlx5":{"hcaHandles":3}}})")), ElementsAre("rdma: rdma.max=mlx5 hca_handle=3"));
  EXPECT_THAT(lines(v2(R"({"unified":{"memory.high":"1000"}})")), ElementsAre("memory: memory.high=1000"));
}

TEST(CgroupPlan, WarnsOrRefusesWhatTheKernelLacks) {
  const struct {
    std::string_view json;
    std::string_view warning;
  } cases[] = {
      {R"({"memory":{"limit":1}})",
       "Your kernel does not support memory limit capabilities or the cgroup is not mounted. Limitation discarded."},
      {R"({"cpu":{"shares":1}})",
       "Your kernel does not support CPU shares or the cgroup is not mounted. Shares discarded."},
      {R"({"cpu":{"cpus":"0"}})",
       "Your kernel does not support cpuset or the cgroup is not mounted. CPUset discarded."},
      {R"({"pids":{"limit":5}})",
       "Your kernel does not support PIDs limit capabilities or the cgroup is not mounted. PIDs limit discarded."},
      {R"({"blockIO":{"weight":10}})",
       "Your kernel does not support Block I/O weight or the cgroup is not mounted. Weight discarded."},
  };
  for (const auto& [json, warning] : cases) {
    const auto resources = oci::parse_resources(json).value();
    const auto warned = plan_cgroup(resources, sys::CgroupHost(), {}, Unsupported::warn);
    ASSERT_TRUE(warned);
    EXPECT_THAT(warned->settings, IsEmpty());
    EXPECT_THAT(warned->warnings, ElementsAre(warning));
    const auto refused = plan_cgroup(resources, sys::CgroupHost(), {}, Unsupported::refuse);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().kind(), ErrorKind::unavailable);
    EXPECT_EQ(refused.error().text(), warning);
  }
}

TEST(CgroupPlan, RefusesNonsense) {
  for (const std::string_view json :
       {R"({"cpu":{"idle":2}})", R"({"memory":{"swappiness":101}})", R"({"blockIO":{"weight":9}})",
        R"({"blockIO":{"weight":1001}})", R"({"blockIO":{"throttleReadBpsDevice":[{"major":-1,"minor":0,"rate":1}]}})",
        R"({"hugepageLimits":[{"pageSize":"../2MB","limit":1}]})", R"({"hugepageLimits":[{"pageSize":"2","limit":1}]})",
        R"({"unified":{"memory.high":"1"}})", R"({"devices":[{"allow":true,"type":"x"}]})",
        R"({"devices":[{"allow":true,"type":"c","major":-2}]})", R"({"devices":[{"allow":true,"access":"q"}]})"}) {
    const auto made = plan_cgroup(oci::parse_resources(json).value(), v1_host, all_features(false), Unsupported::warn);
    ASSERT_FALSE(made) << json;
    EXPECT_EQ(made.error().kind(), ErrorKind::invalid) << json;
  }
  for (const std::string_view json :
       {R"({"memory":{"swap":5}})", R"({"memory":{"limit":10,"swap":5}})", R"({"unified":{"../x.y":"1"}})",
        R"({"unified":{"cgroup.procs":"1"}})", R"({"unified":{"memory":"1"}})"})
    EXPECT_FALSE(plan_cgroup(oci::parse_resources(json).value(), v2_host, all_features(true), Unsupported::warn))
        << json;
}

TEST(CgroupPlan, DeviceRulesEndWithTheUsualDevices) {
  const auto denied = v1(
      R"({"devices":[{"allow":false,"access":"rwm"},{"allow":true,"type":"c","major":10,"minor":229,"access":"rw"}]})");
  ASSERT_EQ(denied.devices.size(), 13U);
  EXPECT_EQ(sys::format_device_rule(denied.devices[1]), "c 10:229 rw");
  EXPECT_EQ(sys::format_device_rule(denied.devices.back()), "c 136:* rwm");
  EXPECT_EQ(v1("{}").devices.size(), 11U);
  const auto privileged = v1(R"({"devices":[{"allow":true,"access":"rwm"}]})");
  ASSERT_EQ(privileged.devices.size(), 1U);
  EXPECT_TRUE(privileged.devices[0].allow);
}

TEST(CgroupMake, LimitsARealGroupAndUpdatesIt) {
  const auto host = sys::CgroupHost::detect();
  ASSERT_TRUE(host);
  if (host->tree_of("memory") == nullptr || host->tree_of("pids") == nullptr)
    GTEST_SKIP() << "no memory or pids controller";
  const auto parent = "corten-test-plan-" + std::to_string(::getpid());
  std::vector<std::string> warnings;
  const auto resources =
      oci::parse_resources(R"({"memory":{"limit":33554432,"swap":33554432},"pids":{"limit":20},"cpu":{"shares":256}})")
          .value();
  auto group = make_cgroup(resources, *host, parent + "/a", Unsupported::warn, warnings);
  if (!group && group.error().sys_errno() == EROFS) GTEST_SKIP() << group.error().text();
  ASSERT_TRUE(group) << group.error().text();
  auto owner = sys::CgroupDir::open(host->trees(), parent);
  ASSERT_TRUE(owner);
  owner->adopt();
  const bool old = !host->tree_of("memory")->v2;
  const char* file = old ? "memory.limit_in_bytes" : "memory.max";
  EXPECT_EQ(group->read("memory", file).value(), "33554432\n");
  EXPECT_EQ(group->read("pids", "pids.max").value(), "20\n");
  // Up past the old memory+swap limit, and down again.
  for (const char* size : {"67108864", "16777216"}) {
    const auto more = oci::parse_resources(fmt::format(R"({{"memory":{{"limit":{0},"swap":{0}}}}})", size)).value();
    const auto updated = update_cgroup(more, *host, *group, Unsupported::warn, warnings);
    ASSERT_TRUE(updated) << updated.error().text();
    EXPECT_EQ(group->read("memory", file).value(), std::string(size) + "\n");
  }
  EXPECT_EQ(group->read("pids", "pids.max").value(), "20\n");
  group = sys::CgroupDir();
}

}  // namespace
}  // namespace corten::runtime
