#include "runtime/compile.h"

#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "runtime/launch_fixture.h"

namespace corten::runtime {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;

// What `corten-runtime spec` writes, more or less.
oci::RuntimeSpec make_spec() {
  auto spec = oci::parse_runtime_spec(R"({
    "ociVersion": "1.2.0",
    "process": {"user": {"uid": 0, "gid": 0}, "args": ["sh"], "env": ["PATH=/bin"], "cwd": "/",
      "capabilities": {"bounding": ["CAP_KILL"], "effective": ["CAP_KILL"], "permitted": ["CAP_KILL"]},
      "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 512}]},
    "root": {"path": "rootfs"},
    "hostname": "box",
    "mounts": [
      {"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "noexec", "nodev"]},
      {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
      {"destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": ["nosuid", "noexec", "newinstance", "gid=5"]},
      {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["ro"]},
      {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["nosuid", "ro"]}
    ],
    "linux": {"namespaces": [{"type": "mount"}, {"type": "pid"}, {"type": "network"}, {"type": "uts"}, {"type": "ipc"}, {"type": "cgroup"}],
      "maskedPaths": ["/proc/kcore"], "readonlyPaths": ["/proc/sys"]}
  })");
  EXPECT_TRUE(spec) << spec.error().text();
  return *spec;
}

class CompileTest : public ::testing::Test {
 protected:
  CompileTest() : spec(make_spec()), host(*detect_host()) { options.bundle = "/bundle"; }
  Result<CompiledLaunch> run() { return compile(spec, host, options); }
  std::string error() {
    const auto compiled = run();
    return compiled ? "" : compiled.error().text();
  }
  const MountPlan* mount_at(const LaunchPlan& plan, std::string_view target) {
    for (const auto& mount : plan.mounts)
      if (mount.target == target) return &mount;
    return nullptr;
  }
  oci::RuntimeSpec spec;
  HostFeatures host;
  CompileOptions options;
};

TEST_F(CompileTest, AnOrdinarySpecification) {
  const auto compiled = run();
  ASSERT_TRUE(compiled) << compiled.error().text();
  const auto& plan = compiled->plan;
  EXPECT_EQ(plan.root.path, "/bundle/rootfs");
  EXPECT_EQ(plan.namespaces[static_cast<std::size_t>(NamespaceKind::user)].mode, NamespaceMode::inherit);
  EXPECT_EQ(plan.namespaces[static_cast<std::size_t>(NamespaceKind::pid)].mode, NamespaceMode::create);
  const auto* dev = mount_at(plan, "/dev");
  ASSERT_NE(dev, nullptr);
  EXPECT_EQ(dev->set, std::uint64_t{MOUNT_ATTR_NOSUID | MOUNT_ATTR_STRICTATIME});
  ASSERT_EQ(dev->parameters.size(), 2U);
  EXPECT_EQ(dev->parameters[1].value, "65536k");
  EXPECT_EQ(plan.devices.size(), 6U);
  EXPECT_EQ(plan.process.capabilities->bounding, sys::capability_bit(5));
  EXPECT_EQ(plan.process.rlimits[0].resource, 7);
  EXPECT_TRUE(compiled->warnings.empty());
}

TEST_F(CompileTest, CgroupMountsOnV1AreBindsOfTheContainersGroups) {
  host.cgroups = sys::CgroupHost(
      {{false, "/sys/fs/cgroup/cpu,cpuacct", {"cpu", "cpuacct"}}, {false, "/sys/fs/cgroup/memory", {"memory"}}});
  options.cgroup_path = "docker/x";
  const auto compiled = run();
  ASSERT_TRUE(compiled);
  EXPECT_EQ(mount_at(compiled->plan, "/sys/fs/cgroup")->fstype, "tmpfs");
  EXPECT_EQ(mount_at(compiled->plan, "/sys/fs/cgroup/memory")->source, "/sys/fs/cgroup/memory/docker/x");
  EXPECT_EQ(mount_at(compiled->plan, "/sys/fs/cgroup/cpuacct")->kind, MountKind::symlink);
  EXPECT_EQ(compiled->plan.mounts.back().kind, MountKind::remount);
}

TEST_F(CompileTest, CgroupMountOnV2) {
  host.cgroups = sys::CgroupHost({{true, "/sys/fs/cgroup", {"cpu", "memory"}}});
  EXPECT_EQ(mount_at(run()->plan, "/sys/fs/cgroup")->fstype, "cgroup2");
  spec.linux_config->namespaces.pop_back();  // the host's cgroup namespace
  const auto compiled = run();
  ASSERT_TRUE(compiled);
  EXPECT_EQ(mount_at(compiled->plan, "/sys/fs/cgroup")->kind, MountKind::bind);
}

TEST_F(CompileTest, BindOptions) {
  spec.mounts.push_back({"/a//b/", "bind", "src", {"rbind", "ro", "rw", "rro", "rslave", "nosuid"}, {}, {}});
  const auto compiled = run();
  ASSERT_TRUE(compiled) << compiled.error().text();
  const auto* mount = mount_at(compiled->plan, "/a/b");
  ASSERT_NE(mount, nullptr);
  EXPECT_EQ(mount->source, "/bundle/src");
  EXPECT_TRUE(mount->recursive);
  EXPECT_EQ(mount->set, std::uint64_t{MOUNT_ATTR_NOSUID});
  EXPECT_EQ(mount->clear, std::uint64_t{MOUNT_ATTR_RDONLY});
  EXPECT_EQ(mount->set_recursive, std::uint64_t{MOUNT_ATTR_RDONLY});
  EXPECT_EQ(mount->propagation, std::uint64_t{MS_SLAVE});
  spec.mounts.back().options = {"bind", "nonsense"};
  EXPECT_THAT(error(), HasSubstr("mount option \"nonsense\" is not known"));
}

TEST_F(CompileTest, DescriptorsTakeThePlaceOfPaths) {
  options.root_mount = 0;
  options.namespace_fds[static_cast<std::size_t>(NamespaceKind::network)] = 1;
  options.mount_trees["/data"] = 2;
  spec.mounts.push_back({"/data", "bind", "/x", {"rbind"}, {}, {}});
  const auto compiled = run();
  ASSERT_TRUE(compiled);
  EXPECT_EQ(compiled->plan.root.mount, 0);
  EXPECT_EQ(compiled->plan.namespaces[static_cast<std::size_t>(NamespaceKind::network)].mode, NamespaceMode::join);
  EXPECT_EQ(mount_at(compiled->plan, "/data")->tree, 2);
}

TEST_F(CompileTest, WhatTheMachineCannotGiveIsAWarning) {
  host.can_raise_limits = false;
  host.rlimits[7] = {7, 100, 200};
  host.own_oom_score_adj = 0;
  host.own_bounding = sys::capability_bit(5);
  spec.process->oom_score_adj = -500;
  spec.process->capabilities->bounding = {"CAP_KILL", "CAP_SYS_RESOURCE", "CAP_FROM_THE_FUTURE"};
  const auto compiled = run();
  ASSERT_TRUE(compiled) << compiled.error().text();
  EXPECT_EQ(compiled->warnings.size(), 4U);
  EXPECT_THAT(compiled->warnings, Contains(HasSubstr("ulimit RLIMIT_NOFILE=512:1024")));
  EXPECT_THAT(compiled->warnings, Contains(HasSubstr("oom_score_adj -500")));
  EXPECT_THAT(compiled->warnings, Contains(HasSubstr("CAP_SYS_RESOURCE")));
  EXPECT_EQ(compiled->plan.process.rlimits[0].hard, 200U);
  EXPECT_EQ(*compiled->plan.process.oom_score_adj, 0);
}

TEST_F(CompileTest, WrongSpecifications) {
  const auto good = spec;
  const auto refuses = [&](auto change, std::string_view text) {
    spec = good;
    change(spec);
    EXPECT_THAT(error(), HasSubstr(std::string(text)));
  };
  refuses([](auto& s) { s.process->args.clear(); }, "no command specified");
  refuses([](auto& s) { s.process->cwd = "relative"; }, "needs to be an absolute path");
  refuses([](auto& s) { s.process->user.uid = 0xffffffff; }, "is not an id");
  refuses([](auto& s) { s.process->rlimits[0].type = "RLIMIT_NOPE"; }, "invalid ulimit type");
  refuses([](auto& s) { s.process->rlimits[0].soft = 2048; }, "above the hard limit");
  refuses([](auto& s) { s.process->oom_score_adj = 1001; }, "range for oom score adj");
  refuses([](auto& s) { s.process->env = {std::string("A=\0", 3)}; }, "NUL byte");
  refuses([](auto& s) { s.linux_config->namespaces.push_back({"nope", ""}); }, "there is no type");
  refuses([](auto& s) { s.linux_config->namespaces.push_back({"pid", ""}); }, "is there twice");
  refuses([](auto& s) { s.linux_config->namespaces.erase(s.linux_config->namespaces.begin()); },
          "mount namespace of its own");
  refuses([](auto& s) { s.linux_config->namespaces.push_back({"user", ""}); }, "needs both");
  refuses([](auto& s) { s.linux_config->uid_mappings = {{0, 1, 2}}; }, "need a user namespace");
  refuses([](auto& s) { s.linux_config->sysctl["vm.swappiness"] = "1"; }, "is not in a separate kernel namespace");
  refuses([](auto& s) { s.linux_config->sysctl["net/../kernel/x"] = "1"; }, "is not a setting");
  refuses([](auto& s) { s.mounts.push_back({"/x", "", "", {}, {}, {}}); }, "neither a type nor");
  refuses([](auto& s) { s.mounts.push_back({"/", "tmpfs", "", {}, {}, {}}); }, "cannot be \"/\"");
  refuses([](auto& s) { s.linux_config->devices.push_back({"/dev/x", "x", 1, 1, {}, {}, {}}); }, "is none of");
  refuses([](auto& s) { s.linux_config->devices.push_back({"/dev/x", "c", -1, 1, {}, {}, {}}); },
          "not a device number");
  refuses([](auto& s) { s.linux_config->rootfs_propagation = "odd"; }, "there is no \"odd\"");
  refuses(
      [](auto& s) {
        s.hooks = oci::Hooks{};
        s.hooks->create_container.push_back({"hook", {}, {}, {}});
      },
      "not an absolute path");
}

TEST_F(CompileTest, SharedNetworkRefusesItsSettings) {
  spec.linux_config->sysctl["net.ipv4.ip_forward"] = "1";
  ASSERT_TRUE(run());
  EXPECT_EQ(run()->plan.sysctls[0].path, "net/ipv4/ip_forward");
  std::erase_if(spec.linux_config->namespaces, [](const auto& ns) { return ns.type == "network"; });
  EXPECT_THAT(error(), HasSubstr("shares the host's network namespace"));
}

TEST_F(CompileTest, HooksGetTheState) {
  spec.hooks = oci::Hooks{};
  spec.hooks->create_container.push_back({"/bin/hook", {"hook"}, {}, 5});
  options.id = "me";
  const auto compiled = run();
  ASSERT_TRUE(compiled);
  EXPECT_THAT(compiled->plan.create_state, HasSubstr("\"pid\":@PID@"));
  EXPECT_THAT(compiled->plan.create_state, HasSubstr("\"id\":\"me\""));
}

TEST_F(CompileTest, ExecJoinsWhatTheContainerHas) {
  oci::Process process = *spec.process;
  process.args = {"ps"};
  const auto compiled = compile_exec(spec, process, host, options);
  ASSERT_TRUE(compiled);
  EXPECT_EQ(compiled->plan.namespaces,
            std::uint64_t{CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWCGROUP});
  EXPECT_EQ(compiled->plan.process.args, std::vector<std::string>{"ps"});
}

class CompiledLaunchTest : public LaunchTest {};

TEST_F(CompiledLaunchTest, RunsFromABundle) {
  auto spec = make_spec();
  spec.process->args = {"/bin/sh", "-c", "cat /proc/self/mounts; hostname"};
  CompileOptions options;
  options.bundle = directory_;
  const auto compiled = compile(spec, *detect_host(), options);
  ASSERT_TRUE(compiled) << compiled.error().text();
  const auto out = sh(compiled->plan);
  EXPECT_THAT(out, HasSubstr("tmpfs /dev tmpfs rw,nosuid,size=65536k,mode=755"));
  EXPECT_THAT(out, HasSubstr(" /sys/fs/cgroup tmpfs ro"));
  EXPECT_THAT(out, HasSubstr("box\n"));
}

}  // namespace
}  // namespace corten::runtime
