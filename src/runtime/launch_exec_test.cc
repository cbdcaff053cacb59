// One more process in a running container.
#include <sched.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "runtime/launch_fixture.h"
#include "sys/files.h"

namespace corten::runtime {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
namespace fs = std::filesystem;

constexpr std::uint64_t all_namespaces =
    CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP;

class ExecTest : public LaunchTest {
 protected:
  ExecPlan make_exec(const std::string& command) const {
    ExecPlan plan;
    plan.id = "test";
    plan.namespaces = all_namespaces;
    plan.process.args = {"/bin/sh", "-c", command};
    plan.process.env = {"PATH=/bin"};
    return plan;
  }
  std::string exec(const std::string& command) {
    auto outcome = run_exec(make_exec(command), container_.child.pidfd());
    if (!outcome) {
      ADD_FAILURE() << outcome.error().text();
      return {};
    }
    return outcome->out;
  }
  void SetUp() override {
    LaunchTest::SetUp();
    if (IsSkipped()) return;
    auto started = start_sleeper();
    ASSERT_TRUE(started) << started.error().text();
    container_ = std::move(*started);
  }
  void TearDown() override {
    container_ = {};
    LaunchTest::TearDown();
  }
  PreparedProcess container_;
};

TEST_F(ExecTest, JoinsEveryNamespace) {
  std::string expected;
  for (const auto* name : {"mnt", "pid", "net", "ipc", "uts", "cgroup"})
    expected += fs::read_symlink(fmt::format("/proc/{}/ns/{}", container_.child.pid(), name)).string() + "\n";
  EXPECT_EQ(exec("for n in mnt pid net ipc uts cgroup; do readlink /proc/self/ns/$n; done"), expected);
  EXPECT_EQ(exec("hostname"), "box\n");
  EXPECT_THAT(exec("ps"), HasSubstr("sleep 1000"));
  EXPECT_EQ(exec("ls /"), "bin\ndev\netc\nproc\nroot\nsys\ntmp\n");
}

TEST_F(ExecTest, ItIsOurOwnChildWithItsExitCode) {
  auto outcome = run_exec(make_exec("exit 9"), container_.child.pidfd());
  ASSERT_TRUE(outcome) << outcome.error().text();
  EXPECT_EQ(outcome->status.code, 9);
  EXPECT_EQ(fs::read_symlink("/proc/self/ns/pid"), fs::read_symlink("/proc/self/ns/pid_for_children"));
}

TEST_F(ExecTest, NoDescriptorLeaksIn) { EXPECT_EQ(exec("exec ls /proc/self/fd"), "0\n1\n2\n3\n"); }

TEST_F(ExecTest, NullAsInputIsNeverTheHosts) {
  const auto null_of = [&] { return exec("stat -L -c %d:%i,%t:%T /proc/self/fd/0; stat -c %d:%i,%t:%T /dev/null"); };
  const auto own = null_of();
  EXPECT_EQ(own.substr(0, own.find('\n') + 1), own.substr(own.find('\n') + 1));
  struct stat host{};
  ASSERT_EQ(::stat("/dev/null", &host), 0);
  for (const auto* instead : {"true", "echo x > /dev/null", "ln -s /etc/passwd /dev/null"}) {
    exec(fmt::format("rm -f /dev/null; {}", instead));
    const auto text = exec("stat -L -c '%d %t:%T' /proc/self/fd/0");
    EXPECT_THAT(text, HasSubstr(" 1:3\n")) << instead;
    EXPECT_NE(std::stoull(text), host.st_dev) << instead;
  }
}

TEST_F(ExecTest, HasItsOwnIdentity) {
  auto plan = make_exec("id; grep CapEff /proc/self/status; pwd; echo $A");
  plan.process.uid = 1000;
  plan.process.gid = 1000;
  plan.process.groups = {1000};
  plan.process.cwd = "/tmp";
  plan.process.env.emplace_back("A=b");
  plan.process.capabilities = sys::CapabilitySets{};
  auto outcome = run_exec(plan, container_.child.pidfd());
  ASSERT_TRUE(outcome) << outcome.error().text();
  EXPECT_THAT(outcome->out, HasSubstr("uid=1000(user) gid=1000 groups=1000"));
  EXPECT_THAT(outcome->out, HasSubstr("CapEff:\t0000000000000000\n/tmp\nb\n"));
}

TEST_F(ExecTest, Terminal) {
  auto plan = make_exec("tty; stty size");
  plan.process.terminal = true;
  plan.process.rows = 24;
  plan.process.columns = 80;
  auto outcome = run_exec(plan, container_.child.pidfd());
  ASSERT_TRUE(outcome) << outcome.error().text();
  EXPECT_THAT(outcome->out, HasSubstr("/dev/pts/0\r\n24 80\r\n"));
}

TEST_F(ExecTest, ErrorsAreThoseOfAStart) {
  auto plan = make_exec("");
  plan.process.args = {"foo"};
  const auto error = run_exec(plan, container_.child.pidfd()).error();
  EXPECT_EQ(error.text(), "exec: \"foo\": executable file not found in $PATH");
  EXPECT_EQ(exec_exit_code(error), 127);
}

TEST_F(ExecTest, AContainerThatHasEndedIsNoTarget) {
  const int copy = ::dup(container_.child.pidfd());
  const UniqueFd ended(copy);
  container_ = {};
  EXPECT_FALSE(run_exec(make_exec("true"), ended.get()));
  EXPECT_EQ(fs::read_symlink("/proc/self/ns/pid"), fs::read_symlink("/proc/self/ns/pid_for_children"));
}

TEST_F(ExecTest, TheJoiningProcessCannotBeLookedInto) {
  // A prepared exec is still our program, in the container's pid namespace: its memory and descriptors are not for the
  // container.
  auto plan = make_exec("true");
  auto prepared = prepare_exec(plan, container_.child.pidfd(), {});
  ASSERT_TRUE(prepared) << prepared.error().text();
  auto look = make_exec(
      "for p in $(ls /proc | grep '^[0-9]'); do test $p = 1 || test $p = $$ || ls /proc/$p/fd /proc/$p/cwd/ 2>&1; "
      "done");
  look.process.capabilities = sys::CapabilitySets{0xa80425fb, 0xa80425fb, 0, 0xa80425fb, 0};
  const auto outcome = run_exec(look, container_.child.pidfd());
  ASSERT_TRUE(outcome) << outcome.error().text();
  EXPECT_THAT(outcome->out, HasSubstr("Permission denied"));
  EXPECT_TRUE(release(*prepared));
}

TEST_F(ExecTest, UserNamespaceIsJoinedToo) {
  auto plan = make_plan("");
  plan.process.args = {"/bin/sleep", "1000"};
  plan.namespaces[static_cast<std::size_t>(NamespaceKind::user)].mode = NamespaceMode::create;
  plan.uid_maps = plan.gid_maps = {{0, 100000, 65536}};
  fs::permissions(directory_, fs::perms::owner_all | fs::perms::others_exec | fs::perms::others_read);
  for (const auto* part : {"", "/dev", "/proc", "/sys", "/etc", "/tmp", "/root", "/bin"})
    ASSERT_EQ(::chown((rootfs() + part).c_str(), 100000, 100000), 0);
  auto container = launch(plan, {});
  ASSERT_TRUE(container) << container.error().text();
  auto look = make_exec("cat /proc/self/uid_map; id -u; readlink /proc/self/ns/user");
  look.namespaces |= CLONE_NEWUSER;
  const auto outcome = run_exec(look, container->child.pidfd());
  ASSERT_TRUE(outcome) << outcome.error().text();
  EXPECT_THAT(outcome->out, HasSubstr("100000"));
  const auto user = fmt::format("/proc/{}/ns/user", container->child.pid());
  EXPECT_THAT(outcome->out, HasSubstr("\n0\n" + fs::read_symlink(user).string()));

  look.process.oom_score_adj = 400;
  look.process.args.back() = "cat /proc/self/oom_score_adj";
  EXPECT_EQ(run_exec(look, container->child.pidfd())->out, "400\n");
  // A label is written in spite of the masks that keep a second procfs from being mounted (this machine knows none).
  look.process.selinux_label = "no:such:label";
  EXPECT_THAT(run_exec(look, container->child.pidfd()).error().text(), Not(HasSubstr("make file system proc")));

  // And a new container may be made inside it.
  auto guest = make_plan("cat /proc/self/uid_map; readlink /proc/self/ns/user");
  guest.namespaces[static_cast<std::size_t>(NamespaceKind::user)] = {NamespaceMode::join, no_fd, user};
  const auto inside = run(guest);
  ASSERT_TRUE(inside) << inside.error().text();
  EXPECT_THAT(inside->out, HasSubstr(fs::read_symlink(user).string()));

  // In the first one's pid namespace, too: nobody there may look into what still is our program, and its number is
  // ours.
  guest.namespaces[static_cast<std::size_t>(NamespaceKind::pid)] = {
      NamespaceMode::join, no_fd, fmt::format("/proc/{}/ns/pid", container->child.pid())};
  guest.process.oom_score_adj = 400;
  guest.process.args = {"/bin/sleep", "1000"};
  struct stat status{};
  auto prepared = prepare(guest, {}, {.before_pivot = [&](pid_t pid) -> Result<> {
                            if (::stat(fmt::format("/proc/{}/fd", pid).c_str(), &status) != 0) return sys_fail("stat");
                            return {};
                          }});
  ASSERT_TRUE(prepared) << prepared.error().text();
  EXPECT_EQ(status.st_uid, 0U) << "what can be dumped belongs to the user of the namespace";
  ASSERT_TRUE(release(*prepared));
  const auto second = fmt::format("/proc/{}", prepared->child.pid());
  EXPECT_EQ(fs::read_symlink(second + "/ns/user"), fs::read_symlink(user));
  EXPECT_EQ(*sys::read_file(second + "/oom_score_adj"), "400\n");
}

}  // namespace
}  // namespace corten::runtime
