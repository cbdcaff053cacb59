#include "runtime/compile.h"

#include <linux/filter.h>
#include <sys/mount.h>

#include "runtime/launch_fixture.h"
#include "runtime/seccomp_compile.h"

namespace corten::runtime {
namespace {

using ::testing::HasSubstr;

constexpr sys::CapabilityMask docker_capabilities = 0xa80425fb;

TEST(SeccompCompile, DockersDefaultBecomesAFilter) {
  const auto profile = docker_default_seccomp(docker_capabilities);
  ASSERT_TRUE(profile) << profile.error().text();
  EXPECT_EQ(profile->architectures.size(), 3U);
  const auto start = std::chrono::steady_clock::now();
  const auto program = compile_seccomp(*profile);
  ASSERT_TRUE(program) << program.error().text();
  RecordProperty("microseconds", static_cast<int>((std::chrono::steady_clock::now() - start).count() / 1000));
  fmt::print("{} instructions, compiled in {} us\n", program->filter.size() / sizeof(sock_filter),
             (std::chrono::steady_clock::now() - start).count() / 1000);
}

class SeccompLaunch : public LaunchTest {};

TEST_F(SeccompLaunch, Load) {
  auto plan = make_plan("grep -E 'Seccomp|NoNew' /proc/self/status; mkdir /tmp/a; ls /");
  const auto program = compile_seccomp(*docker_default_seccomp(docker_capabilities));
  plan.process.seccomp = program->filter;
  plan.process.seccomp_flags = program->flags;
  plan.process.capabilities = sys::CapabilitySets{docker_capabilities, docker_capabilities, 0, docker_capabilities, 0};
  EXPECT_THAT(sh(plan), HasSubstr("Seccomp:\t2"));
}

}  // namespace
}  // namespace corten::runtime
