// Attacks from inside an image or a shared volume. The numbers are those of public vulnerabilities of the same kind in
// other runtimes.
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>

#include "runtime/launch_fixture.h"
#include "sys/files.h"

namespace corten::runtime {
namespace {

using ::testing::AnyOf;
using ::testing::HasSubstr;
using ::testing::Not;
namespace fs = std::filesystem;

class HostileTest : public LaunchTest {
 protected:
  void SetUp() override {
    LaunchTest::SetUp();
    if (IsSkipped()) return;
    // Stands for the host: must stay as it is.
    fs::create_directories(path("host/etc"));
    ASSERT_TRUE(sys::write_file_atomic(path("host/secret"), "secret"));
    before_ = listing();
  }
  void TearDown() override {
    if (!directory_.empty()) {
      EXPECT_EQ(listing(), before_) << "the host was changed";
    }
    LaunchTest::TearDown();
  }
  std::string listing() const {
    std::string text;
    for (const auto& entry : fs::recursive_directory_iterator(path("host"))) text += entry.path().string() + "\n";
    return text;
  }
  void replace_by_link(const std::string& name, const std::string& target) {
    fs::remove_all(rootfs() + "/" + name);
    fs::create_symlink(target, rootfs() + "/" + name);
  }
  MountPlan bind(const std::string& source, const std::string& target) const {
    MountPlan mount;
    mount.kind = MountKind::bind;
    mount.source = source;
    mount.target = target;
    return mount;
  }

 private:
  std::string before_;
};

// CVE-2023-28642, CVE-2019-19921
TEST_F(HostileTest, ProcAndSysThatAreLinksAreRefused) {
  replace_by_link("proc", "/tmp");
  EXPECT_THAT(run(make_plan("true")).error().text(),
              HasSubstr("mount /proc: proc must be mounted on an ordinary directory"));
  fs::remove(rootfs() + "/proc");
  fs::create_directory(rootfs() + "/proc");
  replace_by_link("sys", "/proc");
  EXPECT_THAT(run(make_plan("true")).error().text(),
              HasSubstr("mount /sys: sysfs must be mounted on an ordinary directory"));
}

// CVE-2026-41579, CVE-2026-47766
TEST_F(HostileTest, DevThatIsALinkStaysInside) {
  replace_by_link("dev", path("host"));
  // As seen from inside the link's target does not exist; it is made there, and the devices with it.
  const auto outcome = run(make_plan("ls -l /dev"));
  if (outcome) {
    EXPECT_THAT(outcome->out, HasSubstr("dev"));
  }
  auto plan = make_plan("true");
  std::erase_if(plan.mounts, [](const MountPlan& mount) { return mount.target.starts_with("/dev"); });
  EXPECT_FALSE(run(plan)) << "devices must not be made through a link";
}

TEST_F(HostileTest, DevLinksOfTheImageAreNotFollowed) {
  auto plan = make_plan("true");
  std::erase_if(plan.mounts, [](const MountPlan& mount) { return mount.target.starts_with("/dev"); });
  fs::create_symlink(path("host/null"), rootfs() + "/dev/null");
  EXPECT_THAT(run(plan).error().text(), HasSubstr("device /dev/null: another file is there already"));
}

// CVE-2019-16884
TEST_F(HostileTest, NothingMayCoverProc) {
  fs::create_directories(path("volume"));
  auto plan = make_plan("true");
  plan.mounts.push_back(bind(path("volume"), "/proc/self"));
  EXPECT_FALSE(run(plan));
  plan.mounts.back().target = "/proc/sys";
  EXPECT_THAT(run(plan).error().text(),
              HasSubstr("mount /proc/sys: mounting over a file of the proc file system is not allowed"));
  // Through a link of the image, too.
  fs::create_symlink("/proc/sys", rootfs() + "/innocent");
  plan.mounts.back().target = "/innocent";
  EXPECT_THAT(run(plan).error().text(), HasSubstr("not allowed"));
}

// CVE-2021-30465, CVE-2024-45310
TEST_F(HostileTest, MountTargetsDoNotLeaveTheRoot) {
  fs::create_directories(path("volume"));
  fs::create_symlink("../../../../../../../../.." + path("host/etc"), rootfs() + "/up");
  fs::create_symlink(path("host/new"), rootfs() + "/absolute");
  fs::create_directories(rootfs() + "/real");
  fs::create_symlink("/real", rootfs() + "/good");
  for (const auto* target : {"/up/made", "/absolute/made", "/../../../../x", "/good/made"}) {
    auto plan = make_plan("cat /proc/self/mountinfo");
    plan.mounts.push_back(bind(path("volume"), target));
    const auto outcome = run(plan);
    if (outcome) {
      EXPECT_THAT(outcome->out, Not(HasSubstr("host/")));
    }
  }
  EXPECT_TRUE(fs::exists(rootfs() + "/real/made")) << "links inside the root are followed";
}

TEST_F(HostileTest, FileTargetsDoNotLeaveTheRoot) {
  ASSERT_TRUE(sys::write_file_atomic(path("hosts"), "x"));
  replace_by_link("etc", path("host/etc"));
  auto plan = make_plan("true");
  plan.mounts.push_back(bind(path("hosts"), "/etc/hosts"));
  (void)run(plan);
  EXPECT_FALSE(fs::exists(path("host/etc/hosts")));
}

// CVE-2025-31133
TEST_F(HostileTest, AFalseNullDeviceIsNotUsedAsAMask) {
  auto plan = make_plan("cat /proc/keys | wc -c");
  std::erase_if(plan.mounts, [](const MountPlan& mount) { return mount.target.starts_with("/dev"); });
  plan.devices.clear();
  plan.default_dev = false;
  fs::create_symlink("/etc/passwd", rootfs() + "/dev/null");
  plan.masked_paths = {"/proc/keys"};
  EXPECT_EQ(sh(plan), "0\n");
  fs::remove(rootfs() + "/dev/null");
  ASSERT_TRUE(sys::write_file_atomic(rootfs() + "/dev/null", "not null"));
  EXPECT_EQ(sh(plan), "0\n");
}

// CVE-2025-52565
TEST_F(HostileTest, TheTerminalDoesNotComeFromTheImage) {
  auto plan = make_plan("tty");
  plan.process.terminal = true;
  std::erase_if(plan.mounts, [](const MountPlan& mount) { return mount.target.starts_with("/dev"); });
  fs::create_directories(rootfs() + "/dev/pts");
  ASSERT_TRUE(sys::write_file_atomic(rootfs() + "/dev/pts/ptmx", "x"));
  EXPECT_THAT(run(plan).error().text(), HasSubstr("terminal: ptmx is not that of a devpts file system"));
}

TEST_F(HostileTest, ConsoleThatIsALink) {
  auto plan = make_plan("true");
  plan.process.terminal = true;
  std::erase_if(plan.mounts, [](const MountPlan& mount) {
    return mount.target == "/dev" || mount.target == "/dev/mqueue" || mount.target == "/dev/shm";
  });
  fs::create_directories(rootfs() + "/dev/pts");
  fs::create_symlink(path("host/console"), rootfs() + "/dev/console");
  EXPECT_FALSE(run(plan));
}

// CVE-2024-21626
TEST_F(HostileTest, WorkingDirectoryThroughADescriptor) {
  std::vector<UniqueFd> fds;
  fds.push_back(*sys::open_directory(path("host")));
  for (int number = 3; number < 24; ++number) {
    auto plan = make_plan("ls secret");
    plan.process.cwd = fmt::format("/proc/self/fd/{}", number);
    plan.process.make_cwd = true;
    std::vector<UniqueFd> copy;
    copy.push_back(UniqueFd(::fcntl(fds[0].get(), F_DUPFD_CLOEXEC, 3)));
    EXPECT_FALSE(run(plan, std::move(copy))) << number;
  }
}

// CVE-2024-21626: the program itself through a descriptor that is only closed by exec. What runs then is a file of the
// host, which /proc/PID/exe opens for writing.
TEST_F(HostileTest, ProgramThroughADescriptor) {
  fs::create_directories(path("tools"));
  fs::copy_file("/bin/busybox", path("tools/true"));
  const auto tools = sys::open_directory(path("tools"));
  ASSERT_TRUE(tools);
  auto plan = make_plan("");
  plan.process.args = {fmt::format("/proc/self/fd/{}/true", tools->get())};
  const auto outcome = run(plan);
  ASSERT_FALSE(outcome);
  EXPECT_THAT(outcome.error().text(), AnyOf(HasSubstr("no such file or directory"), HasSubstr("not a directory")));
}

// CVE-2019-5736
TEST_F(HostileTest, OurOwnProgramCannotBeRunInside) {
  auto plan = make_plan("");
  plan.process.args = {"/proc/self/exe"};
  EXPECT_EQ(run(plan).error().text(), "exec: \"/proc/self/exe\": permission denied");
}

TEST_F(HostileTest, OurOwnProgramCannotBeOpenedForWriting) {
  fs::copy_file("/bin/busybox", path("program"));
  const auto program = sys::open_program_read_only(path("program"));
  ASSERT_TRUE(program) << program.error().text();
  const pid_t child = ::fork();
  if (child == 0) {
    const char* args[] = {"sleep", "1000", nullptr};
    const char* env[] = {nullptr};
    ::syscall(SYS_execveat, program->get(), "", args, env, AT_EMPTY_PATH);
    ::_exit(99);
  }
  const auto exe = fmt::format("/proc/{}/exe", child);
  for (int i = 0; i < 1000 && fs::read_symlink(exe).string().find("program") == std::string::npos; ++i) ::usleep(1000);
  // Opened while it runs, re-opened for writing when it does not: the classic way.
  const UniqueFd held(::open(exe.c_str(), O_PATH | O_CLOEXEC));
  ASSERT_TRUE(held);
  ::kill(child, SIGKILL);
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_TRUE(WIFSIGNALED(status));
  EXPECT_EQ(::open(fmt::format("/proc/self/fd/{}", held.get()).c_str(), O_WRONLY | O_CLOEXEC), -1);
  EXPECT_EQ(errno, EROFS);
}

// A second container of the attacker swaps a directory of the shared volume for a link, again and again, while the
// first one starts with mounts inside of that volume.
TEST_F(HostileTest, SwappingLinksDuringMountsStaysInside) {
  fs::create_directories(path("volume/a"));
  fs::create_directories(path("data"));
  fs::create_symlink(path("host"), path("volume/b"));
  const pid_t attacker = ::fork();
  if (attacker == 0) {
    const auto a = path("volume/a");
    const auto b = path("volume/b");
    while (true) ::syscall(SYS_renameat2, AT_FDCWD, a.c_str(), AT_FDCWD, b.c_str(), 2 /* RENAME_EXCHANGE */);
  }
  for (int i = 0; i < 60; ++i) {
    auto plan = make_plan("true");
    plan.mounts.push_back(bind(path("volume"), "/vol"));
    plan.mounts.push_back(bind(path("data"), fmt::format("/vol/a/deep{}/target", i)));
    ASSERT_TRUE(sys::write_file_atomic(path("file"), "x"));
    plan.mounts.push_back(bind(path("file"), fmt::format("/vol/a/file{}", i)));
    plan.process.cwd = fmt::format("/vol/a/cwd{}", i);
    plan.process.make_cwd = true;
    // It may fail; it may not reach the host.
    (void)run(plan);
    ASSERT_EQ(fs::exists(path("host/etc")), true);
    ASSERT_EQ(std::distance(fs::directory_iterator(path("host")), fs::directory_iterator()), 2) << "round " << i;
  }
  ::kill(attacker, SIGKILL);
  ::waitpid(attacker, nullptr, 0);
}

TEST_F(HostileTest, CopyUpReadsNothingOutside) {
  fs::create_symlink(path("host/secret"), rootfs() + "/etc/link");
  ASSERT_EQ(::mkfifo((rootfs() + "/etc/pipe").c_str(), 0666), 0);
  auto plan = make_plan("cat /etc/link; test -e /etc/pipe || echo none");
  MountPlan tmpfs;
  tmpfs.fstype = tmpfs.source = "tmpfs";
  tmpfs.target = "/etc";
  tmpfs.copy_up = true;
  plan.mounts.push_back(tmpfs);
  const auto outcome = run(plan);
  ASSERT_TRUE(outcome) << outcome.error().text();
  EXPECT_THAT(outcome->out, Not(HasSubstr("secret\n")));
  EXPECT_THAT(outcome->out, HasSubstr("none"));
}

TEST_F(HostileTest, TheHostsMountsAreGoneAndStayGone) {
  const auto out = sh("cat /proc/1/mountinfo; ls /proc/1/root/; ls ..; cd /../../..; pwd");
  EXPECT_THAT(out, Not(HasSubstr("host")));
  EXPECT_THAT(out, HasSubstr("/\n"));
}

}  // namespace
}  // namespace corten::runtime
