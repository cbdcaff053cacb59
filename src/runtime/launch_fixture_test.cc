#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "runtime/launch_fixture.h"
#include "sys/files.h"

namespace corten::runtime {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t no_suid_dev_exec = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;

MountPlan filesystem(const std::string& type, const std::string& target, std::uint64_t set,
                     std::vector<sys::MountParameter> parameters = {}) {
  MountPlan mount;
  mount.target = target;
  mount.fstype = type;
  mount.source = type;
  mount.set = set;
  mount.parameters = std::move(parameters);
  return mount;
}

DevicePlan node(const std::string& path, std::uint32_t major, std::uint32_t minor) {
  return {path, S_IFCHR | 0666, major, minor, 0, 0};
}

}  // namespace

void LaunchTest::SetUp() {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  if (!fs::exists("/bin/busybox")) GTEST_SKIP() << "needs a static busybox";
  std::string name = (fs::temp_directory_path() / "corten-runtime-XXXXXX").string();
  ASSERT_NE(::mkdtemp(name.data()), nullptr);
  directory_ = name;
  for (const auto* part : {"bin", "etc", "tmp", "proc", "sys", "dev", "root"})
    fs::create_directories(rootfs() + "/" + part);
  fs::copy_file("/bin/busybox", rootfs() + "/bin/busybox");
  for (const auto* applet : {"sh",    "cat",      "ls",  "id",    "true",  "sleep", "mount", "ps",  "hostname", "stat",
                             "test",  "readlink", "wc",  "touch", "chmod", "grep",  "mkdir", "tty", "stty",     "kill",
                             "nproc", "env",      "pwd", "dd",    "ln",    "sort",  "head",  "ip"})
    fs::create_symlink("busybox", rootfs() + "/bin/" + applet);
  ASSERT_TRUE(
      sys::write_file_atomic(rootfs() + "/etc/passwd", "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/:/bin/sh\n"));
}

void LaunchTest::TearDown() {
  if (directory_.empty()) return;
  // Nothing of a container may be left on the host.
  const auto mounts = sys::read_file("/proc/self/mountinfo");
  ASSERT_TRUE(mounts);
  EXPECT_EQ(mounts->find(directory_), std::string::npos) << "a mount leaked to the host";
  EXPECT_TRUE(sys::remove_tree(directory_));
}

LaunchPlan LaunchTest::make_plan(const std::string& command) const {
  LaunchPlan plan;
  plan.id = "test";
  for (const auto kind : {NamespaceKind::mount, NamespaceKind::pid, NamespaceKind::network, NamespaceKind::ipc,
                          NamespaceKind::uts, NamespaceKind::cgroup})
    plan.namespaces[static_cast<std::size_t>(kind)].mode = NamespaceMode::create;
  plan.hostname = "box";
  plan.root.path = rootfs();
  plan.mounts = {
      filesystem("proc", "/proc", no_suid_dev_exec),
      filesystem("tmpfs", "/dev", MOUNT_ATTR_NOSUID, {{"mode", "755"}, {"size", "65536k"}}),
      filesystem("devpts", "/dev/pts", MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC,
                 {{"newinstance", "", true}, {"ptmxmode", "0666"}, {"mode", "0620"}, {"gid", "5"}}),
      filesystem("sysfs", "/sys", no_suid_dev_exec | MOUNT_ATTR_RDONLY),
      filesystem("mqueue", "/dev/mqueue", no_suid_dev_exec),
      filesystem("tmpfs", "/dev/shm", no_suid_dev_exec, {{"mode", "1777"}, {"size", "67108864"}}),
  };
  plan.devices = {node("/dev/null", 1, 3), node("/dev/zero", 1, 5),   node("/dev/full", 1, 7),
                  node("/dev/tty", 5, 0),  node("/dev/random", 1, 8), node("/dev/urandom", 1, 9)};
  plan.masked_paths = {"/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/scsi", "/sys/firmware"};
  plan.readonly_paths = {"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"};
  plan.process.args = {"/bin/sh", "-c", command};
  plan.process.env = {"PATH=/bin:/usr/bin"};
  return plan;
}

Result<Outcome> LaunchTest::collect(Result<PreparedProcess> started, UniqueFd output) {
  if (!started) return std::unexpected(std::move(started).error());
  Outcome outcome;
  if (started->console) {
    // A terminal whose other side is closed says EIO.
    char block[4096];
    while (true) {
      const ssize_t length = ::read(started->console.get(), block, sizeof block);
      if (length <= 0) break;
      outcome.out.append(block, static_cast<std::size_t>(length));
    }
  } else {
    outcome.out = TRY(sys::read_all(output.get(), 1U << 20));
  }
  outcome.status = TRY(started->child.wait());
  return outcome;
}

Result<Outcome> LaunchTest::run(LaunchPlan plan, std::vector<UniqueFd> fds) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return sys_fail("pipe");
  UniqueFd reader(ends[0]);
  fds.emplace_back(ends[1]);
  plan.process.stdio[1] = plan.process.stdio[2] = static_cast<FdSlot>(fds.size() - 1);
  auto started = launch(plan, fds);
  fds.clear();
  return collect(std::move(started), std::move(reader));
}

Result<Outcome> LaunchTest::run_exec(ExecPlan plan, int target, std::vector<UniqueFd> fds) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return sys_fail("pipe");
  UniqueFd reader(ends[0]);
  fds.emplace_back(ends[1]);
  plan.process.stdio[1] = plan.process.stdio[2] = static_cast<FdSlot>(fds.size() - 1);
  auto started = launch_exec(plan, target, fds);
  fds.clear();
  return collect(std::move(started), std::move(reader));
}

std::string LaunchTest::sh(LaunchPlan plan, std::vector<UniqueFd> fds) {
  auto outcome = run(std::move(plan), std::move(fds));
  if (!outcome) {
    ADD_FAILURE() << outcome.error().text();
    return {};
  }
  EXPECT_EQ(outcome->status.shell_code(), 0) << outcome->out;
  return outcome->out;
}

std::string LaunchTest::sh(const std::string& command) { return sh(make_plan(command)); }

Result<PreparedProcess> LaunchTest::start_sleeper() {
  auto plan = make_plan("");
  plan.process.args = {"/bin/sleep", "1000"};
  return launch(plan, {});
}

}  // namespace corten::runtime
