#include "runtime/launch.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <filesystem>

#include "runtime/launch_fixture.h"
#include "sys/files.h"

namespace corten::runtime {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
namespace fs = std::filesystem;

TEST_F(LaunchTest, RunsAProgramAndReportsItsExitCode) {
  auto outcome = run(make_plan("echo hello; exit 7"));
  ASSERT_TRUE(outcome) << outcome.error().text();
  EXPECT_EQ(outcome->out, "hello\n");
  EXPECT_EQ(outcome->status.code, 7);
}

TEST_F(LaunchTest, NamespacesAreItsOwn) {
  const auto out = sh("echo $$; hostname; ls /proc | grep -c '^[0-9]'; for n in mnt pid net ipc uts cgroup; do readlink /proc/self/ns/$n; done");
  EXPECT_THAT(out, HasSubstr("1\nbox\n"));
  for (const auto* name : {"mnt", "pid", "net", "ipc", "uts", "cgroup"}) {
    const auto ours = fs::read_symlink(std::string("/proc/self/ns/") + name).string();
    EXPECT_THAT(out, Not(HasSubstr(ours))) << name;
    EXPECT_THAT(out, HasSubstr(std::string(name) + ":[")) << name;
  }
}

TEST_F(LaunchTest, SeesNothingOfTheHost) {
  const auto out = sh("cat /proc/self/mountinfo; ls /");
  EXPECT_THAT(out, Not(HasSubstr("/dev/vda rw,discard shared")));
  EXPECT_EQ(out.find(" / / "), out.rfind(" / / ")) << "one root only: " << out;
  EXPECT_EQ(sh("ls /"), "bin\ndev\netc\nproc\nroot\nsys\ntmp\n");
}

TEST_F(LaunchTest, NoDescriptorLeaksIn) {
  // ls has one for the directory it lists.
  EXPECT_EQ(sh("ls /proc/self/fd | wc -l"), "4\n");
  EXPECT_EQ(sh("exec ls /proc/self/fd"), "0\n1\n2\n3\n");
}

}  // namespace
}  // namespace corten::runtime
