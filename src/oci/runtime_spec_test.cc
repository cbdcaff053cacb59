#include "oci/runtime_spec.h"

#include <gtest/gtest.h>

namespace corten::oci {
namespace {

// Every field once, with values that differ from the defaults.
constexpr std::string_view everything =
    R"({"ociVersion":"1.2.0","process":{"terminal":true,"consoleSize":{"height":24,"width":80},"user":{"uid":1000,"gid":7,)"
    R"("umask":18,"additionalGids":[1,4294967295],"username":"u"},"args":["sh","-c","true"],"env":["A=b"],"cwd":"/",)"
    R"("capabilities":{"bounding":["CAP_CHOWN"],"effective":["CAP_CHOWN"],"inheritable":["CAP_KILL"],"permitted":["CAP_CHOWN"],)"
    R"("ambient":["CAP_KILL"]},"rlimits":[{"type":"RLIMIT_NOFILE","soft":1024,"hard":18446744073709551615}],)"
    R"("noNewPrivileges":true,"apparmorProfile":"p","oomScoreAdj":-1,"selinuxLabel":"l","ioPriority":{"class":"IOPRIO_CLASS_BE",)"
    R"("priority":4},"scheduler":{"policy":"SCHED_BATCH","nice":-3,"priority":1,"flags":["SCHED_FLAG_RESET_ON_FORK"],"runtime":1,)"
    R"("deadline":2,"period":3},"execCPUAffinity":{"initial":"0-1","final":"1"}},"root":{"path":"rootfs","readonly":true},)"
    R"("hostname":"h","domainname":"d","mounts":[{"destination":"/proc","type":"proc","source":"proc","options":["nosuid"],)"
    R"("uidMappings":[{"containerID":0,"hostID":100000,"size":65536}],"gidMappings":[{"containerID":0,"hostID":100000,"size":1}]}],)"
    R"("hooks":{"prestart":[{"path":"/a","args":["a","b"],"env":["X=1"],"timeout":5}],"createRuntime":[{"path":"/b"}],)"
    R"("createContainer":[{"path":"/c"}],"startContainer":[{"path":"/d"}],"poststart":[{"path":"/e"}],"poststop":[{"path":"/f"}]},)"
    R"("annotations":{"k":"v"},"linux":{"devices":[{"path":"/dev/fuse","type":"c","major":10,"minor":229,"fileMode":438,"uid":1,)"
    R"("gid":2}],"netDevices":{"eth0":{"name":"c0"}},"uidMappings":[{"containerID":0,"hostID":1,"size":2}],)"
    R"("gidMappings":[{"containerID":3,"hostID":4,"size":5}],"namespaces":[{"type":"pid"},{"type":"network","path":"/run/n"}],)"
    R"("resources":{"devices":[{"allow":false,"access":"rwm"},{"allow":true,"type":"c","major":1,"minor":-1,"access":"r"}],)"
    R"("memory":{"limit":1,"reservation":2,"swap":-1,"kernel":3,"kernelTCP":4,"swappiness":60,"disableOOMKiller":false,)"
    R"("useHierarchy":true,"checkBeforeUpdate":true},"cpu":{"shares":1024,"quota":-1,"burst":5,"period":100000,)"
    R"("realtimeRuntime":6,"realtimePeriod":7,"cpus":"0-1","mems":"0","idle":1},"pids":{"limit":-1},"blockIO":{"weight":10,)"
    R"("leafWeight":20,"weightDevice":[{"major":8,"minor":0,"weight":500,"leafWeight":300}],)"
    R"("throttleReadBpsDevice":[{"major":8,"minor":0,"rate":1}],"throttleWriteBpsDevice":[{"major":8,"minor":0,"rate":2}],)"
    R"("throttleReadIOPSDevice":[{"major":8,"minor":0,"rate":3}],"throttleWriteIOPSDevice":[{"major":8,"minor":0,"rate":4}]},)"
    R"("hugepageLimits":[{"pageSize":"2MB","limit":9}],"network":{"classID":1,"priorities":[{"name":"lo","priority":2}]},)"
    R"("rdma":{"mlx5":{"hcaHandles":3,"hcaObjects":4}},"unified":{"memory.high":"max"}},"cgroupsPath":"/a/b",)"
    R"("rootfsPropagation":"slave","seccomp":{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":1,)"
    R"("architectures":["SCMP_ARCH_X86_64"],"flags":["SECCOMP_FILTER_FLAG_LOG"],"listenerPath":"/s","listenerMetadata":"m",)"
    R"("syscalls":[{"names":["read"],"action":"SCMP_ACT_ALLOW","errnoRet":2,"args":[{"index":0,"value":1,"valueTwo":2,)"
    R"("op":"SCMP_CMP_EQ"}]}]},"sysctl":{"net.ipv4.ip_forward":"1"},"maskedPaths":["/proc/kcore"],"readonlyPaths":["/proc/sys"],)"
    R"("mountLabel":"ml","intelRdt":{"closID":"c","schemata":["L3:0=f"],"l3CacheSchema":"L3:0=f","memBwSchema":"MB:0=20",)"
    R"("enableMonitoring":true},"memoryPolicy":{"mode":"MPOL_BIND","nodes":"0","flags":["MPOL_F_STATIC_NODES"]},)"
    R"("personality":{"domain":"LINUX32","flags":["x"]},"timeOffsets":{"boottime":{"secs":-5,"nanosecs":1},)"
    R"("monotonic":{"secs":7,"nanosecs":0}}}})";

TEST(RuntimeSpec, KeepsEveryField) {
  const auto spec = parse_runtime_spec(everything);
  ASSERT_TRUE(spec) << spec.error().text();
  EXPECT_EQ(write_runtime_spec(*spec), everything);
}

TEST(RuntimeSpec, KeepsAbsentApartFromZero) {
  const auto absent = parse_resources(R"({"memory":{"swappiness":0,"limit":0},"devices":[{"allow":true}]})");
  ASSERT_TRUE(absent);
  EXPECT_EQ(absent->memory->swappiness, 0U);
  EXPECT_EQ(absent->memory->limit, 0);
  EXPECT_FALSE(absent->memory->swap);
  EXPECT_FALSE(absent->devices[0].major);
  EXPECT_FALSE(absent->cpu);
  EXPECT_EQ(write_resources(*absent), R"({"devices":[{"allow":true}],"memory":{"limit":0,"swappiness":0}})");
}

TEST(RuntimeSpec, IgnoresOtherSystemsAndUnknownFields) {
  const auto spec = parse_runtime_spec(
      R"({"ociVersion":"1.0.2-dev","windows":{"layerFolders":[1]},"new":{},"process":null,"linux":{"x":1}})");
  ASSERT_TRUE(spec) << spec.error().text();
  EXPECT_FALSE(spec->process);
  EXPECT_TRUE(spec->linux_config);
}

struct BadCase {
  std::string_view text;
  std::string_view message;
};

TEST(RuntimeSpec, RefusesWhatIsWrongAndNamesIt) {
  const BadCase cases[] = {
      {R"({})", "ociVersion is required"},
      {R"({"ociVersion":"1.0.0","root":{}})", "root.path is required"},
      {R"({"ociVersion":"1.0.0","process":{"args":["x"]}})", "process.cwd is required"},
      {R"({"ociVersion":"1.0.0","mounts":[{"destination":"/a"},{"type":"proc"}]})",
       "mounts[1].destination is required"},
      {R"({"ociVersion":"1.0.0","linux":{"namespaces":[{}]}})", "linux.namespaces[0].type is required"},
      {R"({"ociVersion":"1.0.0","linux":{"devices":[{"path":"/dev/x"}]}})", "linux.devices[0].type is required"},
      {R"({"ociVersion":"1.0.0","linux":{"seccomp":{}}})", "linux.seccomp.defaultAction is required"},
      {R"({"ociVersion":"1.0.0","hooks":{"poststop":[{"path":"sh"}]}})",
       "hooks.poststop[0].path: want an absolute path, got \"sh\""},
      {R"({"ociVersion":"1.0.0","hooks":{"poststop":[{"path":"/sh","timeout":0}]}})",
       "hooks.poststop[0].timeout: want a positive number of seconds, got 0"},
  };
  for (const auto& [text, message] : cases) {
    const auto spec = parse_runtime_spec(text);
    ASSERT_FALSE(spec) << text;
    EXPECT_EQ(spec.error().text(), message);
    EXPECT_EQ(spec.error().kind(), ErrorKind::invalid);
  }
}

TEST(RuntimeSpec, RefusesWrongTypesAndRanges) {
  const char* cases[] = {"",
                         "[]",
                         "{",
                         R"({"ociVersion":1})",
                         R"({"ociVersion":"1","process":{"cwd":"/","user":{"uid":-1}}})",
                         R"({"ociVersion":"1","process":{"cwd":"/","user":{"uid":4294967296}}})",
                         R"({"ociVersion":"1","process":{"cwd":"/","user":{"uid":"0"}}})",
                         R"({"ociVersion":"1","process":{"cwd":"/","args":"sh"}})",
                         R"({"ociVersion":"1","annotations":{"a":1}})",
                         R"({"ociVersion":"1","linux":{"resources":{"blockIO":{"weight":65536}}}})",
                         R"({"ociVersion":"1","linux":{"resources":{"memory":{"limit":9223372036854775808}}}})",
                         R"({"ociVersion":"1","linux":{"resources":{"memory":{"limit":1.5}}}})",
                         R"({"ociVersion":"1"} x)"};
  for (const char* text : cases) {
    const auto spec = parse_runtime_spec(text);
    ASSERT_FALSE(spec) << text;
    EXPECT_EQ(spec.error().kind(), ErrorKind::invalid) << text;
  }
}

TEST(RuntimeSpec, RefusesHugeDocuments) {
  EXPECT_FALSE(parse_runtime_spec(std::string(max_runtime_spec_bytes + 1, ' ')));
}

TEST(RuntimeState, WritesWhatTheSchemaAsks) {
  RuntimeState state{
      .oci_version = "1.2.0", .id = "c1", .status = "running", .pid = 12, .bundle = "/b", .annotations = {}};
  EXPECT_EQ(write_runtime_state(state),
            R"({"ociVersion":"1.2.0","id":"c1","status":"running","pid":12,"bundle":"/b"})");
  const auto back = parse_runtime_state(write_runtime_state(state));
  ASSERT_TRUE(back);
  EXPECT_EQ(back->pid, 12);
  EXPECT_FALSE(parse_runtime_state(R"({"ociVersion":"1.2.0","id":"c1","status":"running"})"));
}

}  // namespace
}  // namespace corten::oci
