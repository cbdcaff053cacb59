// How long a start takes, from the plan to the reaped process. Prints; asserts nothing about time, machines differ.
// What the kernel alone needs on the same machine is measured by bench/floor.c.
#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <filesystem>

#include "runtime/launch_fixture.h"
#include "runtime/seccomp_compile.h"
#include "sys/cgroup_dir.h"
#include "sys/mounts.h"

namespace corten::runtime {
namespace {

constexpr sys::CapabilityMask docker_capabilities = 0xa80425fb;

class LaunchSpeed : public LaunchTest {
 protected:
  // An overlay of two layers as a detached mount, as a snapshot driver makes it.
  Result<UniqueFd> overlay(int number) {
    const auto upper = path(fmt::format("upper-{}", number));
    const auto work = path(fmt::format("work-{}", number));
    std::filesystem::create_directories(path("empty"));
    if (::mkdir(upper.c_str(), 0755) != 0 || ::mkdir(work.c_str(), 0755) != 0) return sys_fail("mkdir");
    const std::array parameters{sys::MountParameter{"lowerdir", path("empty") + ":" + rootfs(), false, -1},
                                sys::MountParameter{"upperdir", upper, false, -1},
                                sys::MountParameter{"workdir", work, false, -1}};
    return sys::mount_filesystem("overlay", "overlay", parameters, 0);
  }

  void measure(const char* name, LaunchPlan plan, int runs = 100) {
    plan.process.args = {"/bin/true"};
    std::vector<double> times;
    for (int i = 0; i < runs; ++i) {
      const auto start = std::chrono::steady_clock::now();
      std::vector<UniqueFd> fds;
      auto root = overlay(number_++);
      ASSERT_TRUE(root) << root.error().text();
      fds.push_back(std::move(*root));
      plan.root.mount = 0;
      auto process = launch(plan, fds);
      ASSERT_TRUE(process) << process.error().text();
      fds.clear();
      const auto status = process->child.wait();
      ASSERT_TRUE(status);
      EXPECT_EQ(status->code, 0);
      times.push_back(std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count());
    }
    std::ranges::sort(times);
    fmt::print("{:<44} min {:.2f} ms, median {:.2f} ms\n", name, times.front(), times[times.size() / 2]);
  }

  int number_ = 0;
};

TEST_F(LaunchSpeed, OfTrue) {
  auto plan = make_plan("");
  auto bare = plan;
  bare.masked_paths.clear();
  bare.readonly_paths.clear();
  bare.session_keyring = false;
  bare.mounts.erase(bare.mounts.begin() + 4, bare.mounts.end());
  bare.namespaces[static_cast<std::size_t>(NamespaceKind::cgroup)].mode = NamespaceMode::inherit;
  measure("five namespaces, /proc /dev /dev/pts /sys", bare);
  measure("the same, shm, mqueue, masks, cgroup namespace", plan);
  plan.process.capabilities = sys::CapabilitySets{docker_capabilities, docker_capabilities, 0, docker_capabilities, 0};
  measure("the same, capabilities", plan);
  const auto program = compile_seccomp(*docker_default_seccomp(docker_capabilities));
  ASSERT_TRUE(program);
  plan.process.seccomp = program->filter;
  plan.process.seccomp_flags = program->flags;
  measure("the same, seccomp", plan);
}

}  // namespace
}  // namespace corten::runtime
