// The real corten-shim with real containers: a root file system of nothing but busybox. Needs root.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <condition_variable>
#include <filesystem>
#include <mutex>

#include "runtime/launch_plan.h"
#include "shimproto/shim_client.h"
#include "sys/process.h"

namespace corten::shim {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using runtime::NamespaceKind;
using testing::HasSubstr;

template <class Plan>
std::string plan_bytes(const Plan& plan) {
  const auto bytes = runtime::serialise(plan);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

runtime::MountPlan filesystem(const std::string& type, const std::string& target) {
  runtime::MountPlan mount;
  mount.target = target;
  mount.fstype = type;
  mount.source = type;
  mount.set = MOUNT_ATTR_NOSUID;
  return mount;
}

class ContainerTest : public testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
    if (!fs::exists("/bin/busybox")) GTEST_SKIP() << "needs a static busybox";
    if (!fs::exists(CORTEN_SHIM_PATH)) GTEST_SKIP() << "needs " CORTEN_SHIM_PATH;
    std::string pattern = testing::TempDir() + "corten-container-XXXXXX";
    root_ = ::mkdtemp(pattern.data());
    for (const char* name : {"run", "log", "rootfs/bin", "rootfs/proc", "rootfs/dev", "rootfs/tmp", "rootfs/etc"})
      fs::create_directories(root_ + "/" + name);
    ::chmod(root_.c_str(), 0755);
    fs::copy_file("/bin/busybox", root_ + "/rootfs/bin/busybox");
    fs::create_symlink("busybox", root_ + "/rootfs/bin/sh");
    run_dir_ = UniqueFd(::open((root_ + "/run").c_str(), O_DIRECTORY | O_CLOEXEC));
    log_dir_ = UniqueFd(::open((root_ + "/log").c_str(), O_DIRECTORY | O_CLOEXEC));
    hub_ = shimproto::ShimHub::create({CORTEN_SHIM_PATH, 1, 10'000ms, 60'000ms, 4}).value();
  }
  void TearDown() override {
    if (client_) ::kill(client_->state().shim_pid, SIGKILL);
    if (client_) (void)sys::pidfd_wait_ended(client_->pidfd(), 10s);
    client_.reset();
    hub_.reset();
    if (!root_.empty()) fs::remove_all(root_);
  }

  runtime::LaunchPlan plan(const std::string& script) const {
    runtime::LaunchPlan launch;
    launch.id = "shim-test";
    for (const auto kind : {NamespaceKind::mount, NamespaceKind::pid, NamespaceKind::ipc, NamespaceKind::uts})
      launch.namespaces[static_cast<std::size_t>(kind)].mode = runtime::NamespaceMode::create;
    launch.root.path = root_ + "/rootfs";
    launch.mounts = {filesystem("proc", "/proc"), filesystem("tmpfs", "/dev"), filesystem("devpts", "/dev/pts")};
    launch.mounts[1].parameters = {{"mode", "755"}};
    launch.mounts[2].parameters = {{"newinstance", "", true}, {"ptmxmode", "0666"}};
    launch.devices = {{"/dev/null", S_IFCHR | 0666, 1, 3, 0, 0}, {"/dev/tty", S_IFCHR | 0666, 5, 0, 0, 0}};
    launch.process.args = {"/bin/busybox", "sh", "-c", script};
    launch.process.env = {"PATH=/bin"};
    return launch;
  }
  shimproto::ExecRequest exec_request(const std::string& script) const {
    runtime::ExecPlan exec;
    exec.namespaces = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS;
    exec.process.args = {"/bin/busybox", "sh", "-c", script};
    exec.process.env = {"PATH=/bin"};
    shimproto::ExecRequest request;
    request.exec_id = "e";
    request.plan = plan_bytes(exec);
    return request;
  }
  shimproto::StartRequest request(const runtime::LaunchPlan& launch) const {
    shimproto::StartRequest start;
    start.container_id = std::string(64, 'a');
    start.plan = plan_bytes(launch);
    start.run_dir = run_dir_.get();
    start.log_dir = log_dir_.get();
    return start;
  }
  // Starts with one client and gives our end.
  UniqueFd start(shimproto::StartRequest start_request, bool with_stdin = false) {
    auto [ours, theirs] = sockets();
    shimproto::AttachSpec spec;
    spec.fd = theirs.get();
    spec.want_stdin = with_stdin;
    spec.want_stdout = spec.want_stderr = true;
    start_request.attaches.push_back(spec);
    start_request.stdin_open = start_request.stdin_once = with_stdin;
    shimproto::ShimCallbacks callbacks;
    callbacks.on_exit = [this](const shimproto::ExitRecord& exit) { note([&] { exit_ = exit; }); };
    callbacks.on_exec_exit = [this](const std::string&, const shimproto::ExitRecord& exit) {
      note([&] { exec_exit_ = exit; });
    };
    callbacks.on_lost = [this](const Error& error) { note([&] { lost_ = error.text(); }); };
    auto client = hub_->start(start_request, std::move(callbacks));
    EXPECT_TRUE(client) << client.error().text();
    if (client) client_ = *client;
    return std::move(ours);
  }
  static std::pair<UniqueFd, UniqueFd> sockets() {
    std::array<int, 2> ends{};
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
    return {UniqueFd(ends[0]), UniqueFd(ends[1])};
  }
  static std::string read_all(int fd) {
    std::string all;
    std::array<char, 65536> buffer;
    for (;;) {
      pollfd waiting{fd, POLLIN, 0};
      if (::poll(&waiting, 1, 20'000) <= 0) {
        ADD_FAILURE() << "no end after \"" << all.substr(0, 200) << '"';
        return all;
      }
      const ssize_t got = ::read(fd, buffer.data(), buffer.size());
      if (got <= 0) return all;
      all.append(buffer.data(), static_cast<std::size_t>(got));
    }
  }
  std::string output_of(const std::string& script) { return read_all(start(request(plan(script))).get()); }
  template <class Predicate>
  bool wait(Predicate predicate) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, 20s, predicate);
  }
  bool wait_exit() {
    return wait([this] { return exit_.has_value(); });
  }

  std::string root_;
  UniqueFd run_dir_;
  UniqueFd log_dir_;
  std::unique_ptr<shimproto::ShimHub> hub_;
  std::shared_ptr<shimproto::ShimClient> client_;
  std::optional<shimproto::ExitRecord> exit_;
  std::optional<shimproto::ExitRecord> exec_exit_;
  std::string lost_;

 private:
  template <class Change>
  void note(Change change) {
    const std::lock_guard lock(mutex_);
    change();
    changed_.notify_all();
  }
  std::mutex mutex_;
  std::condition_variable changed_;
};

TEST_F(ContainerTest, RunsAndExits) {
  EXPECT_EQ(output_of("echo hello from $$; exit 3"), "hello from 1\n");
  ASSERT_TRUE(wait_exit());
  EXPECT_EQ(exit_->code, 3);
}

TEST_F(ContainerTest, TheProcessInheritsNothingOfTheShim) {
  const std::string output = output_of(
      "grep -E 'Sig(Blk|Ign)|^Umask' /proc/self/status; busybox ls /proc/self/fd | busybox tr '\\n' ' '; "
      "cut -d' ' -f6 /proc/1/stat");
  EXPECT_THAT(output, HasSubstr("SigBlk:\t0000000000000000"));
  EXPECT_THAT(output, HasSubstr("SigIgn:\t0000000000000000"));
  EXPECT_THAT(output, HasSubstr("Umask:\t0022"));
  EXPECT_THAT(output, HasSubstr("0 1 2 3 "));  // 3: ls itself, reading the directory
  EXPECT_EQ(output.find(" 4 "), std::string::npos) << output;
}

TEST_F(ContainerTest, AUserMayReopenItsOutput) {
  auto launch = plan("echo by name > /dev/stdout; echo by number > /dev/fd/2");
  launch.process.uid = launch.process.gid = 1000;
  const std::string output = read_all(start(request(launch)).get());
  EXPECT_THAT(output, HasSubstr("by name\n"));
  EXPECT_THAT(output, HasSubstr("by number\n"));
}

TEST_F(ContainerTest, ATerminal) {
  auto start_request = request(plan("busybox tty; busybox stty size; exec < /dev/tty; echo through tty"));
  start_request.tty = true;
  start_request.rows = 33;
  start_request.columns = 77;
  const std::string output = read_all(start(start_request).get());
  EXPECT_EQ(output, "/dev/pts/0\r\n33 77\r\nthrough tty\r\n");
}

TEST_F(ContainerTest, ATerminalThatIsClosedForAMomentStaysAlive) {
  auto start_request = request(plan("t=$(busybox tty); exec 0<&- 1>&- 2>&-; busybox sleep 0.2; exec 1>$t; echo back"));
  start_request.tty = true;
  EXPECT_EQ(read_all(start(start_request).get()), "back\r\n");
}

TEST_F(ContainerTest, StdinReachesIt) {
  const UniqueFd client = start(request(plan("cat")), true);
  ASSERT_EQ(::send(client.get(), "text", 4, 0), 4);
  ::shutdown(client.get(), SHUT_WR);
  EXPECT_EQ(read_all(client.get()), "text");
  ASSERT_TRUE(wait_exit());
  EXPECT_EQ(exit_->code, 0);
}

TEST_F(ContainerTest, ABackgroundProcessDoesNotDelayTheExit) {
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(output_of("busybox sleep 100 & echo left"), "left\n");
  ASSERT_TRUE(wait_exit());
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 1500ms);
}

TEST_F(ContainerTest, ExecJoinsIt) {
  const UniqueFd container = start(request(plan("exec busybox sleep 1000")));
  auto [ours, theirs] = sockets();
  auto exec = exec_request("busybox ps -o pid,args | busybox grep 'sleep 1000'; exit 5");
  exec.attach = shimproto::AttachSpec{.fd = theirs.get(), .want_stdout = true, .want_stderr = true};
  const auto started = client_->exec(exec);
  ASSERT_TRUE(started) << started.error().text();
  theirs.reset();
  EXPECT_THAT(read_all(ours.get()), testing::ContainsRegex("    1 .*sleep 1000\n"));
  ASSERT_TRUE(wait([&] { return exec_exit_.has_value(); }));
  EXPECT_EQ(exec_exit_->code, 5);

  auto missing = exec_request("");
  missing.exec_id = "missing";
  runtime::ExecPlan bad;
  bad.namespaces = CLONE_NEWNS | CLONE_NEWPID;
  bad.process.args = {"no-such-program"};
  bad.process.env = {"PATH=/bin"};
  missing.plan = plan_bytes(bad);
  const auto failed = client_->exec(missing);
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().kind(), ErrorKind::not_found);
  EXPECT_THAT(failed.error().text(), HasSubstr("executable file not found in $PATH"));
  EXPECT_FALSE(exit_.has_value());
}

TEST_F(ContainerTest, ExecOnATerminal) {
  const UniqueFd container = start(request(plan("exec busybox sleep 1000")));
  auto [ours, theirs] = sockets();
  auto exec = exec_request("busybox tty; busybox stty size");
  exec.tty = true;
  exec.rows = 11;
  exec.columns = 22;
  exec.attach = shimproto::AttachSpec{.fd = theirs.get(), .want_stdout = true};
  ASSERT_TRUE(client_->exec(exec));
  theirs.reset();
  EXPECT_THAT(read_all(ours.get()), HasSubstr("11 22\r\n"));
}

TEST_F(ContainerTest, ExecsAreReportedBeforeTheContainersEnd) {
  const UniqueFd container = start(request(plan("read x")), true);
  ASSERT_TRUE(client_->exec(exec_request("exec busybox sleep 1000")));
  const auto begin = std::chrono::steady_clock::now();
  ::shutdown(container.get(), SHUT_WR);
  ASSERT_TRUE(wait_exit());
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 1500ms);
  ASSERT_TRUE(exec_exit_.has_value());
  EXPECT_EQ(exec_exit_->signal, SIGKILL);
}

TEST_F(ContainerTest, AKilledShimTakesTheContainerAlong) {
  const UniqueFd container = start(request(plan("exec busybox sleep 1000")));
  ASSERT_EQ(::kill(client_->state().shim_pid, SIGKILL), 0);
  ASSERT_TRUE(wait([&] { return !lost_.empty(); }));
  EXPECT_TRUE(sys::pidfd_wait_ended(client_->pidfd(), 10s).value());
}

TEST_F(ContainerTest, AProgramThatIsNotThere) {
  auto launch = plan("");
  launch.process.args = {"no-such-program"};
  const auto client = hub_->start(request(launch), {});
  ASSERT_FALSE(client);
  EXPECT_EQ(client.error().kind(), ErrorKind::not_found);
  EXPECT_THAT(client.error().text(), HasSubstr("executable file not found in $PATH"));
}

TEST_F(ContainerTest, APlanThatIsGarbage) {
  auto start_request = request(plan(""));
  start_request.plan = "garbage";
  const auto client = hub_->start(start_request, {});
  ASSERT_FALSE(client);
  EXPECT_EQ(client.error().kind(), ErrorKind::invalid);
}

}  // namespace
}  // namespace corten::shim
