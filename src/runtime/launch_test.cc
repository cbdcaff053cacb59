#include "runtime/launch.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>

#include "runtime/launch_fixture.h"
#include "sys/files.h"
#include "sys/unix_socket.h"

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
  const auto out =
      sh("echo $$; hostname; ls /proc | grep -c '^[0-9]'; for n in mnt pid net ipc uts cgroup; do readlink "
         "/proc/self/ns/$n; done");
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

TEST_F(LaunchTest, NullAsInputIsTheContainersOwn) {
  // Through a descriptor of the host's node root in the container could change the host's mode.
  const auto out = sh("stat -L -c %d:%i /proc/self/fd/0; stat -c %d:%i /dev/null");
  const auto line = out.find('\n');
  ASSERT_NE(line, std::string::npos) << out;
  EXPECT_EQ(out.substr(0, line + 1), out.substr(line + 1));
}

// --- identity

TEST_F(LaunchTest, CapabilitiesAreWhatThePlanSays) {
  auto plan = make_plan("grep Cap /proc/self/status");
  plan.process.capabilities = sys::CapabilitySets{0xa80425fb, 0xa80425fb, 0, 0xa80425fb, 0};
  EXPECT_EQ(sh(plan),
            "CapInh:\t0000000000000000\nCapPrm:\t00000000a80425fb\nCapEff:\t00000000a80425fb\n"
            "CapBnd:\t00000000a80425fb\nCapAmb:\t0000000000000000\n");
}

TEST_F(LaunchTest, AnotherUserHasNoCapabilitiesButTheAmbientOnes) {
  auto plan = make_plan("grep Cap /proc/self/status; id");
  plan.process.uid = 1000;
  plan.process.gid = 1000;
  plan.process.groups = {7, 1000};
  plan.process.capabilities = sys::CapabilitySets{0xa80425fb, 0xa80425fb, 0, 0xa80425fb, 0};
  auto out = sh(plan);
  EXPECT_THAT(out, HasSubstr("CapPrm:\t0000000000000000\nCapEff:\t0000000000000000\nCapBnd:\t00000000a80425fb\n"));
  EXPECT_THAT(out, HasSubstr("uid=1000(user) gid=1000 groups=7,1000"));
  plan.process.capabilities = sys::CapabilitySets{0x400, 0x400, 0x400, 0x400, 0x400};
  EXPECT_THAT(sh(plan), HasSubstr("CapInh:\t0000000000000400\nCapPrm:\t0000000000000400\nCapEff:\t0000000000000400\n"));
}

TEST_F(LaunchTest, TheIdThatMeansNoChangeIsRefused) {
  auto plan = make_plan("id");
  plan.process.uid = 0xffffffff;
  EXPECT_EQ(run(plan).error().kind(), ErrorKind::invalid);
}

TEST_F(LaunchTest, NoNewPrivilegesAndUmask) {
  auto plan = make_plan("grep NoNewPrivs /proc/self/status; umask");
  EXPECT_EQ(sh(plan), "NoNewPrivs:\t0\n0022\n");
  plan.process.no_new_privileges = true;
  plan.process.umask = 0027;
  EXPECT_EQ(sh(plan), "NoNewPrivs:\t1\n0027\n");
}

TEST_F(LaunchTest, LimitsAndOomScore) {
  auto plan = make_plan("ulimit -n; ulimit -Hn; cat /proc/self/oom_score_adj");
  plan.process.rlimits = {{7, 1024, 2048}};
  plan.process.oom_score_adj = 500;
  EXPECT_EQ(sh(plan), "1024\n2048\n500\n");
  // Fewer descriptors than we ourselves have open on the way; for another user, who may not raise anything, too.
  plan.process.args = {"/bin/sh", "-c", "ulimit -n"};
  plan.process.rlimits = {{7, 4, 4}};
  EXPECT_EQ(sh(plan), "4\n");
  plan.process.uid = plan.process.gid = 1000;
  plan.process.rlimits = {{7, 4, 4}, {3, 1U << 20, 4U << 20}};
  EXPECT_EQ(sh(plan), "4\n");
}

TEST_F(LaunchTest, SignalsStartFromDefaults) {
  ::signal(SIGPIPE, SIG_IGN);
  sigset_t set;
  sigset_t before;
  ::sigemptyset(&set);
  ::sigaddset(&set, SIGTERM);
  ::sigprocmask(SIG_BLOCK, &set, &before);
  // Not through the shell, which ignores signals of its own accord.
  auto plan = make_plan("");
  plan.process.args = {"grep", "-E", "SigBlk|SigIgn", "/proc/self/status"};
  const auto out = sh(plan);
  ::sigprocmask(SIG_SETMASK, &before, nullptr);
  ::signal(SIGPIPE, SIG_DFL);
  EXPECT_EQ(out, "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n");
}

// --- file systems

TEST_F(LaunchTest, KernelFileSystemsAreThere) {
  const auto out = sh("cat /proc/self/mounts");
  EXPECT_THAT(out, HasSubstr("proc /proc proc rw,nosuid,nodev,noexec"));
  EXPECT_THAT(out, HasSubstr("tmpfs /dev tmpfs rw,nosuid,relatime,size=65536k,mode=755"));
  EXPECT_THAT(out, HasSubstr("devpts /dev/pts devpts rw,nosuid,noexec,relatime,gid=5,mode=620,ptmxmode=666"));
  EXPECT_THAT(out, HasSubstr("sysfs /sys sysfs ro,nosuid,nodev,noexec"));
  EXPECT_THAT(out, HasSubstr("mqueue /dev/mqueue mqueue rw"));
  EXPECT_THAT(out, HasSubstr("tmpfs /dev/shm tmpfs rw,nosuid,nodev,noexec,relatime,size=65536k"));
}

TEST_F(LaunchTest, DevicesAndLinks) {
  const auto out = sh("ls -l /dev; echo x >/dev/null && head -c 3 /dev/zero | wc -c; stat -c '%t:%T %a' /dev/null");
  for (const auto* text : {"fd -> /proc/self/fd", "stdin -> /proc/self/fd/0", "ptmx -> pts/ptmx", "core -> /proc/kcore",
                           "urandom", "1:3 666"})
    EXPECT_THAT(out, HasSubstr(text));
  EXPECT_THAT(out, HasSubstr("3\n"));
}

TEST_F(LaunchTest, MaskedAndReadOnlyPaths) {
  ASSERT_FALSE(sys::read_file("/proc/timer_list")->empty());
  EXPECT_EQ(sh("cat /proc/timer_list | wc -c; ls /sys/firmware | wc -l; cat /proc/keys | wc -c"), "0\n0\n0\n");
  // Not even root may change the mask itself: on the host that would be /dev/null's own mode.
  EXPECT_THAT(run(make_plan("chmod 0 /proc/keys"))->out, HasSubstr("Read-only file system"));
  EXPECT_THAT(run(make_plan("echo 1 >/proc/sys/vm/drop_caches"))->out, HasSubstr("Read-only file system"));
  EXPECT_THAT(run(make_plan("echo 1 >/proc/irq/default_smp_affinity"))->out, HasSubstr("Read-only file system"));
  EXPECT_THAT(run(make_plan("touch /sys/x"))->out, HasSubstr("Read-only file system"));
}

TEST_F(LaunchTest, ReadOnlyRootKeepsWritableMounts) {
  auto plan = make_plan("touch /x; touch /dev/shm/y && echo shm");
  plan.root.readonly = true;
  const auto outcome = run(plan);
  ASSERT_TRUE(outcome);
  EXPECT_THAT(outcome->out, HasSubstr("/x: Read-only file system"));
  EXPECT_THAT(outcome->out, HasSubstr("shm\n"));
  EXPECT_FALSE(fs::exists(rootfs() + "/x"));
}

TEST_F(LaunchTest, BindsOfDirectoriesAndFiles) {
  fs::create_directories(path("volume/sub"));
  ASSERT_TRUE(sys::write_file_atomic(path("hosts"), "1.2.3.4 me\n"));
  auto plan = make_plan("cat /etc/hosts; touch /data/deep/er/new; touch /ro/x; ls /data/deep/er");
  MountPlan volume;
  volume.kind = MountKind::bind;
  volume.source = path("volume");
  volume.target = "/data/deep/er";
  volume.recursive = true;
  MountPlan read_only = volume;
  read_only.target = "/ro";
  read_only.set = MOUNT_ATTR_RDONLY;
  MountPlan file;
  file.kind = MountKind::bind;
  file.source = path("hosts");
  file.target = "/etc/hosts";
  plan.mounts.push_back(volume);
  plan.mounts.push_back(read_only);
  plan.mounts.push_back(file);
  const auto outcome = run(plan);
  ASSERT_TRUE(outcome) << outcome.error().text();
  EXPECT_THAT(outcome->out, HasSubstr("1.2.3.4 me\n"));
  EXPECT_THAT(outcome->out, HasSubstr("/ro/x: Read-only file system"));
  EXPECT_THAT(outcome->out, HasSubstr("new\nsub\n"));
  EXPECT_TRUE(fs::exists(path("volume/new")));
}

TEST_F(LaunchTest, RecursiveReadOnlyReachesSubmounts) {
  fs::create_directories(path("volume/sub"));
  ASSERT_EQ(::mount("tmpfs", path("volume/sub").c_str(), "tmpfs", 0, nullptr), 0);
  auto plan = make_plan("touch /data/sub/x");
  MountPlan volume;
  volume.kind = MountKind::bind;
  volume.source = path("volume");
  volume.target = "/data";
  volume.recursive = true;
  volume.set_recursive = MOUNT_ATTR_RDONLY;
  plan.mounts.push_back(volume);
  const auto outcome = run(plan);
  ::umount2(path("volume/sub").c_str(), MNT_DETACH);
  ASSERT_TRUE(outcome) << outcome.error().text();
  EXPECT_THAT(outcome->out, HasSubstr("Read-only file system"));
}

TEST_F(LaunchTest, BindsByDescriptor) {
  fs::create_directories(path("volume"));
  auto plan = make_plan("touch /data/by-fd");
  MountPlan volume;
  volume.kind = MountKind::bind;
  volume.target = "/data";
  volume.tree = 0;
  plan.mounts.push_back(volume);
  std::vector<UniqueFd> fds;
  fds.push_back(*sys::clone_mount(AT_FDCWD, path("volume"), true));
  sh(plan, std::move(fds));
  EXPECT_TRUE(fs::exists(path("volume/by-fd")));
}

TEST_F(LaunchTest, TmpfsWithCopyUp) {
  fs::create_directories(rootfs() + "/etc/dir");
  ASSERT_TRUE(sys::write_file_atomic(rootfs() + "/etc/dir/file", "content"));
  fs::create_symlink("/etc/passwd", rootfs() + "/etc/link");
  auto plan = make_plan("cat /etc/dir/file; readlink /etc/link; echo changed >/etc/dir/file");
  MountPlan tmpfs;
  tmpfs.fstype = tmpfs.source = "tmpfs";
  tmpfs.target = "/etc";
  tmpfs.copy_up = true;
  plan.mounts.push_back(tmpfs);
  EXPECT_EQ(sh(plan), "content/etc/passwd\n");
  EXPECT_EQ(*sys::read_file(rootfs() + "/etc/dir/file"), "content");
}

TEST_F(LaunchTest, IdmappedBind) {
  fs::create_directories(path("volume"));
  ASSERT_TRUE(sys::write_file_atomic(path("volume/file"), "x"));
  ASSERT_EQ(::chown(path("volume/file").c_str(), 1000, 1000), 0);
  auto plan = make_plan("stat -c %u:%g /data/file");
  MountPlan volume;
  volume.kind = MountKind::bind;
  volume.source = path("volume");
  volume.target = "/data";
  volume.uid_maps = volume.gid_maps = {{1000, 0, 1}, {0, 1000, 1}};
  plan.mounts.push_back(volume);
  auto outcome = run(plan);
  if (!outcome && outcome.error().sys_errno() == EINVAL) GTEST_SKIP() << "this file system has no idmapped mounts";
  ASSERT_TRUE(outcome) << outcome.error().text();
  EXPECT_EQ(outcome->out, "0:0\n");
}

TEST_F(LaunchTest, OptionalMountsBecomeWarnings) {
  auto plan = make_plan("true");
  MountPlan bad;
  bad.fstype = bad.source = "no-such-file-system";
  bad.target = "/x";
  bad.optional = true;
  plan.mounts.push_back(bad);
  auto started = launch(plan, {});
  ASSERT_TRUE(started);
  ASSERT_EQ(started->warnings.size(), 1U);
  EXPECT_THAT(started->warnings[0], HasSubstr("mount /x: file system no-such-file-system"));
  plan.mounts.back().optional = false;
  EXPECT_EQ(launch(plan, {}).error().kind(), ErrorKind::unavailable);
}

// --- namespaces

TEST_F(LaunchTest, UserNamespace) {
  auto plan =
      make_plan("id -u; cat /proc/self/uid_map; touch /tmp/mine; ls -ln /dev/null; cat /proc/self/oom_score_adj");
  plan.namespaces[static_cast<std::size_t>(NamespaceKind::user)].mode = NamespaceMode::create;
  plan.uid_maps = plan.gid_maps = {{0, 100000, 65536}};
  plan.process.oom_score_adj = 300;
  fs::permissions(rootfs() + "/tmp", fs::perms::all);
  fs::permissions(directory_, fs::perms::owner_all | fs::perms::others_exec | fs::perms::others_read);
  // A real userns container's root file system belongs to its ids.
  for (const auto* part : {"", "/dev", "/proc", "/sys", "/etc", "/tmp", "/root", "/bin"})
    ASSERT_EQ(::chown((rootfs() + part).c_str(), 100000, 100000), 0);
  const auto out = sh(plan);
  EXPECT_THAT(out, HasSubstr("0\n"));
  EXPECT_THAT(out, HasSubstr("100000"));
  EXPECT_THAT(out, HasSubstr("300\n"));
  struct stat status{};
  ASSERT_EQ(::stat((rootfs() + "/tmp/mine").c_str(), &status), 0);
  EXPECT_EQ(status.st_uid, 100000U);
}

TEST_F(LaunchTest, TimeNamespace) {
  auto plan = make_plan("cat /proc/uptime; cat /proc/self/timens_offsets");
  plan.namespaces[static_cast<std::size_t>(NamespaceKind::time)].mode = NamespaceMode::create;
  plan.time_offsets = {{CLOCK_BOOTTIME, 1'000'000'000, 0}};
  const auto out = sh(plan);
  EXPECT_GT(std::stod(out), 1e9) << out;
}

TEST_F(LaunchTest, JoinsNamespacesOfAnotherContainer) {
  auto first = start_sleeper();
  ASSERT_TRUE(first) << first.error().text();
  auto plan = make_plan("for n in pid net ipc uts; do readlink /proc/self/ns/$n; done; ps | grep -c 'sleep 1000'");
  std::string expected;
  for (const auto& [kind, name] : {std::pair{NamespaceKind::pid, "pid"}, std::pair{NamespaceKind::network, "net"},
                                   std::pair{NamespaceKind::ipc, "ipc"}, std::pair{NamespaceKind::uts, "uts"}}) {
    const auto file = fmt::format("/proc/{}/ns/{}", first->child.pid(), name);
    plan.namespaces[static_cast<std::size_t>(kind)] = {NamespaceMode::join, no_fd, file};
    expected += fs::read_symlink(file).string() + "\n";
  }
  plan.hostname.clear();
  const auto ours = fs::read_symlink("/proc/self/ns/pid_for_children");
  const auto out = sh(plan);
  EXPECT_THAT(out, HasSubstr(expected));
  EXPECT_EQ(fs::read_symlink("/proc/self/ns/pid_for_children"), ours) << "the parent must come back";
}

TEST_F(LaunchTest, Sysctls) {
  auto plan = make_plan("cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/shmmni");
  plan.sysctls = {{"net/ipv4/ip_forward", "1"}, {"kernel/shmmni", "123"}};
  EXPECT_EQ(sh(plan), "1\n123\n");
  plan.sysctls = {{"net/ipv4/nope", "1"}};
  const auto failed = run(plan);
  ASSERT_FALSE(failed);
  EXPECT_THAT(failed.error().text(), HasSubstr("sysctl net/ipv4/nope"));
  plan.sysctls = {{"../self/oom_score_adj", "1"}};
  EXPECT_FALSE(run(plan));
}

TEST_F(LaunchTest, WorkingDirectory) {
  auto plan = make_plan("pwd");
  plan.process.cwd = "/made/for/you";
  plan.process.make_cwd = true;
  EXPECT_EQ(sh(plan), "/made/for/you\n");
  plan.process.cwd = "/not/there";
  plan.process.make_cwd = false;
  EXPECT_THAT(run(plan).error().text(), HasSubstr("working directory /not/there: no such file or directory"));
}

// --- errors

TEST_F(LaunchTest, ProgramsThatCannotRun) {
  auto plan = make_plan("");
  plan.process.args = {"foo"};
  auto error = run(plan).error();
  EXPECT_EQ(error.text(), "exec: \"foo\": executable file not found in $PATH");
  EXPECT_EQ(exec_exit_code(error), 127);
  plan.process.args = {"/nope"};
  error = run(plan).error();
  EXPECT_EQ(error.text(), "exec: \"/nope\": stat /nope: no such file or directory");
  EXPECT_EQ(exec_exit_code(error), 127);
  plan.process.args = {"/etc/passwd"};
  error = run(plan).error();
  EXPECT_EQ(error.text(), "exec: \"/etc/passwd\": permission denied");
  EXPECT_EQ(exec_exit_code(error), 126);
  plan.process.args = {"/etc"};
  error = run(plan).error();
  EXPECT_EQ(error.text(), "exec: \"/etc\": is a directory");
  EXPECT_EQ(exec_exit_code(error), 126);
  ASSERT_TRUE(sys::write_file_atomic(rootfs() + "/bin/garbage",
                                     std::string("\x7f"
                                                 "ELFnot"),
                                     0755));
  plan.process.args = {"garbage"};
  error = run(plan).error();
  EXPECT_EQ(error.text(), "exec /bin/garbage: exec format error");
  EXPECT_EQ(exec_exit_code(error), 126);
  plan.process.args = {"/bin/sh"};
  plan.process.cwd = "/nope";
  EXPECT_EQ(exec_exit_code(run(plan).error()), 128);
  plan.process.args = {};
  EXPECT_EQ(run(plan).error().text(), "no command specified");
}

TEST_F(LaunchTest, AFailedStartLeavesNoProcess) {
  auto plan = make_plan("true");
  plan.masked_paths = {"/bin/../proc/kcore"};
  plan.hostname = std::string(100, 'x');
  const auto failed = run(plan);
  ASSERT_FALSE(failed);
  EXPECT_THAT(failed.error().text(), HasSubstr("set the host name"));
  EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1) << "no child may be left";
  EXPECT_EQ(errno, ECHILD);
}

TEST_F(LaunchTest, PreparedThenReleased) {
  auto plan = make_plan("exit 3");
  auto process = prepare(plan, {});
  ASSERT_TRUE(process) << process.error().text();
  EXPECT_FALSE(*sys::pidfd_wait_ended(process->child.pidfd(), std::chrono::milliseconds(20)));
  ASSERT_TRUE(release(*process));
  EXPECT_EQ(process->child.wait()->code, 3);
}

TEST_F(LaunchTest, AnAbandonedPreparedProcessIsKilled) {
  pid_t pid = 0;
  {
    auto process = prepare(make_plan("exit 3"), {});
    ASSERT_TRUE(process);
    pid = process->child.pid();
  }
  EXPECT_EQ(::kill(pid, 0), -1);
}

TEST_F(LaunchTest, ReleasedByAnotherProgram) {
  auto plan = make_plan("echo started >/tmp/flag");
  std::vector<UniqueFd> fds;
  fds.push_back(*sys::listen_unix(path("start.sock"), sys::SocketType::seqpacket));
  plan.start_listener = 0;
  auto process = prepare(plan, fds);
  ASSERT_TRUE(process) << process.error().text();
  fds.clear();
  process->control.reset();
  const auto connection = sys::connect_unix(path("start.sock"), sys::SocketType::seqpacket);
  ASSERT_TRUE(connection);
  ASSERT_TRUE(release_over(connection->get()));
  EXPECT_EQ(process->child.wait()->code, 0);
  EXPECT_TRUE(fs::exists(rootfs() + "/tmp/flag"));
}

TEST_F(LaunchTest, Hooks) {
  ASSERT_TRUE(sys::write_file_atomic(
      path("hook"), "#!/bin/sh\ncat >" + path("seen") + "\nreadlink /proc/self/ns/mnt >>" + path("seen") + "\n", 0755));
  auto plan = make_plan("cat /tmp/start");
  plan.create_container_hooks = {{path("hook"), {}, {"PATH=/bin:/usr/bin"}, 10}};
  plan.create_state = R"({"pid":@PID@})";
  plan.start_container_hooks = {
      {"/bin/sh", {"sh", "-c", "/bin/cat >/tmp/start; /bin/ls /proc/self/fd >/tmp/fds"}, {}, 0}};
  plan.start_state = "state @PID@\n";
  // Somebody else's descriptor that exec does not close.
  const UniqueFd careless(::open("/", O_RDONLY | O_DIRECTORY));  // NOLINT(android-cloexec-open)
  std::vector<std::string> order;
  auto process = prepare(plan, {}, {.before_pivot = [&](pid_t pid) -> Result<> {
                           order.push_back(std::to_string(pid));
                           return {};
                         }});
  ASSERT_TRUE(process) << process.error().text();
  ASSERT_EQ(order.size(), 1U);
  EXPECT_EQ(order[0], std::to_string(process->child.pid()));
  EXPECT_THAT(*sys::read_file(path("seen")), HasSubstr("{\"pid\":" + order[0] + "}mnt:["));
  ASSERT_TRUE(release(*process));
  EXPECT_EQ(process->child.wait()->code, 0);
  EXPECT_EQ(*sys::read_file(rootfs() + "/tmp/start"), "state " + order[0] + "\n");
  EXPECT_EQ(*sys::read_file(rootfs() + "/tmp/fds"), "0\n1\n2\n3\n");
}

TEST_F(LaunchTest, AFailingHookEndsTheStart) {
  auto plan = make_plan("true");
  plan.create_container_hooks = {{"/bin/false", {}, {}, 0}};
  EXPECT_THAT(run(plan).error().text(), HasSubstr("hook /bin/false: exit code 1"));
  plan.create_container_hooks = {{"/bin/sleep", {"sleep", "60"}, {}, 1}};
  EXPECT_EQ(run(plan).error().kind(), ErrorKind::deadline);
  plan.create_container_hooks.clear();
  EXPECT_FALSE(prepare(plan, {}, {.before_pivot = [](pid_t) -> Result<> { return fail(ErrorKind::internal, "no"); }}));
}

// --- terminal and descriptors

TEST_F(LaunchTest, Terminal) {
  auto plan =
      make_plan("tty; stty size; ls -l /dev/console; test -t 0 && test -t 2 && echo all; ps -o pid,tty | head -3");
  plan.process.terminal = true;
  plan.process.rows = 30;
  plan.process.columns = 100;
  const auto out = sh(plan);
  EXPECT_THAT(out, HasSubstr("/dev/pts/0\r\n30 100\r\n"));
  EXPECT_THAT(out, HasSubstr("/dev/console"));
  EXPECT_THAT(out, HasSubstr("all\r\n"));
  EXPECT_THAT(out, HasSubstr("136,0"));
}

TEST_F(LaunchTest, ExtraDescriptors) {
  ASSERT_TRUE(sys::write_file_atomic(path("extra"), "handed over"));
  auto plan = make_plan("cat <&5; ls /proc/self/fd | wc -l");
  std::vector<UniqueFd> fds;
  fds.push_back(*sys::open_file(path("extra"), O_RDONLY));
  plan.process.extra_fds = {{0, 5}};
  EXPECT_EQ(sh(plan, std::move(fds)), "handed over5\n");
  plan.process.extra_fds = {{0, 2}};
  EXPECT_FALSE(run(plan));
}

TEST_F(LaunchTest, DiesWithItsParent) {
  // The parent is a process of its own, which then goes away.
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  UniqueFd reader(ends[0]);
  UniqueFd writer(ends[1]);
  const pid_t shim = ::fork();
  if (shim == 0) {
    auto process = start_sleeper();
    (void)sys::write_all(writer.get(), process ? std::string("up") : process.error().text());
    ::pause();
    ::_exit(0);
  }
  char text[64] = {};
  ASSERT_EQ(::read(reader.get(), text, sizeof text - 1), 2) << text;
  const auto children = sys::read_file(fmt::format("/proc/{}/task/{}/children", shim, shim));
  ASSERT_TRUE(children);
  const auto sleeper = sys::pidfd_open(std::stoi(*children));
  ASSERT_TRUE(sleeper);
  ::kill(shim, SIGKILL);
  ::waitpid(shim, nullptr, 0);
  EXPECT_TRUE(*sys::pidfd_wait_ended(sleeper->get(), std::chrono::seconds(5)));
}

}  // namespace
}  // namespace corten::runtime
