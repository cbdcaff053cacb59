// The thin wrappers, against the kernel of this machine.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/magic.h>
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>

#include "sys/capability.h"
#include "sys/events.h"
#include "sys/files.h"
#include "sys/mounts.h"
#include "sys/namespaces.h"
#include "sys/process.h"
#include "sys/pty.h"
#include "sys/remove_tree.h"
#include "sys/rlimit.h"
#include "sys/seccomp.h"
#include "sys/unix_socket.h"

namespace corten::sys {
namespace {

using ::testing::HasSubstr;
namespace fs = std::filesystem;

class KernelTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
    std::string name = (fs::temp_directory_path() / "corten-sys-XXXXXX").string();
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    top_ = name;
  }
  void TearDown() override {
    if (!top_.empty()) {
      EXPECT_TRUE(remove_tree(top_));
    }
  }
  std::string top_;
};

std::span<const std::byte> bytes(std::string_view text) { return std::as_bytes(std::span(text)); }
std::string text(const std::vector<std::byte>& data) {
  return {reinterpret_cast<const char*>(data.data()), data.size()};
}

// --- mounts

TEST_F(KernelTest, DetachedMountsBelongToNobody) {
  const auto before = *read_file("/proc/self/mountinfo");
  const std::array parameters{MountParameter{"size", "64k", false, -1}, MountParameter{"mode", "700", false, -1}};
  auto mount = mount_filesystem("tmpfs", "mine", parameters, MOUNT_ATTR_NOSUID);
  ASSERT_TRUE(mount) << mount.error().text();
  EXPECT_EQ(*filesystem_magic(mount->get()), std::uint64_t{TMPFS_MAGIC});
  UniqueFd file(::openat(mount->get(), "file", O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
  EXPECT_TRUE(file);
  ASSERT_TRUE(set_mount_attributes(mount->get(), {.set = MOUNT_ATTR_RDONLY}, false) || errno == EBUSY);
  file.reset();
  ASSERT_TRUE(set_mount_attributes(mount->get(), {.set = MOUNT_ATTR_RDONLY}, false));
  EXPECT_EQ(::openat(mount->get(), "other", O_CREAT | O_WRONLY, 0600), -1);
  EXPECT_EQ(errno, EROFS);
  EXPECT_EQ(*read_file("/proc/self/mountinfo"), before);
}

TEST_F(KernelTest, MountErrorsCarryTheKernelsReason) {
  EXPECT_EQ(mount_filesystem("no-such-fs", "x", {}).error().kind(), ErrorKind::unavailable);
  const std::array bad{MountParameter{"nonsense", "1", false, -1}};
  EXPECT_THAT(mount_filesystem("tmpfs", "x", bad).error().text(), HasSubstr("Unknown parameter 'nonsense'"));
}

TEST_F(KernelTest, CopiesOfMountsCanBeReadOnly) {
  ASSERT_TRUE(write_file_atomic(top_ + "/file", "x"));
  auto copy = clone_mount(AT_FDCWD, top_, true);
  ASSERT_TRUE(copy) << copy.error().text();
  ASSERT_TRUE(set_mount_attributes(copy->get(), {.set = MOUNT_ATTR_RDONLY, .propagation = MS_PRIVATE}, true));
  EXPECT_EQ(::openat(copy->get(), "file", O_WRONLY), -1);
  EXPECT_EQ(errno, EROFS);
  EXPECT_FALSE(clone_mount(AT_FDCWD, top_ + "/nope", false));
}

// --- processes and namespaces

TEST_F(KernelTest, ChildrenByDescriptor) {
  auto cloned = clone_process({});
  ASSERT_TRUE(cloned);
  if (cloned->pid == 0) ::_exit(7);
  ChildProcess child(cloned->pid, std::move(cloned->pidfd));
  const auto status = child.wait();
  ASSERT_TRUE(status);
  EXPECT_EQ(*status, (ExitStatus{7, 0, false}));
}

TEST_F(KernelTest, AForgottenChildIsKilledAndReaped) {
  pid_t pid = 0;
  {
    auto cloned = clone_process({.flags = CLONE_NEWUTS});
    ASSERT_TRUE(cloned);
    if (cloned->pid == 0)
      while (true) ::pause();
    pid = cloned->pid;
    const ChildProcess child(pid, std::move(cloned->pidfd));
    EXPECT_FALSE(*pidfd_wait_ended(child.pidfd(), std::chrono::milliseconds(0)));
    EXPECT_FALSE(try_reap(child.pidfd())->has_value());
    EXPECT_NE(fs::read_symlink(fmt::format("/proc/{}/ns/uts", pid)), fs::read_symlink("/proc/self/ns/uts"));
  }
  EXPECT_EQ(::kill(pid, 0), -1);
  EXPECT_EQ(pidfd_open(pid).error().kind(), ErrorKind::not_found);
}

TEST_F(KernelTest, TheStateOfAProcess) {
  EXPECT_EQ(process_state(::getpid()), 'R');
  auto cloned = clone_process({});
  ASSERT_TRUE(cloned);
  // A name that looks like the end of one must not mislead.
  if (cloned->pid == 0) {
    ::prctl(PR_SET_NAME, "a) Z (b");
    ::kill(::getpid(), SIGSTOP);
    ::_exit(0);
  }
  const pid_t pid = cloned->pid;
  ChildProcess child(pid, std::move(cloned->pidfd));
  siginfo_t info{};
  ASSERT_EQ(::waitid(P_PID, static_cast<id_t>(pid), &info, WSTOPPED | WNOWAIT), 0);
  EXPECT_EQ(process_state(pid), 'T');
  ASSERT_TRUE(pidfd_send_signal(child.pidfd(), SIGKILL));
  ASSERT_TRUE(child.wait());
  EXPECT_EQ(process_state(pid).error().kind(), ErrorKind::not_found);
}

TEST_F(KernelTest, UserNamespacesForMaps) {
  const std::array map{IdRange{0, 100000, 1000}};
  const auto ns = make_user_namespace(map, map);
  ASSERT_TRUE(ns) << ns.error().text();
  EXPECT_EQ(*namespace_type(ns->get()), std::uint64_t{CLONE_NEWUSER});
  EXPECT_FALSE(make_user_namespace(std::array{IdRange{0, 0xffffffff, 5}}, map));
}

TEST_F(KernelTest, NamespaceNames) {
  EXPECT_EQ(namespace_name(CLONE_NEWNS), "mnt");
  EXPECT_EQ(namespace_name(12345), "");
  const auto net = open_own_namespace(CLONE_NEWNET);
  ASSERT_TRUE(net);
  EXPECT_EQ(*namespace_type(net->get()), std::uint64_t{CLONE_NEWNET});
  EXPECT_TRUE(owning_user_namespace(net->get()));
  EXPECT_FALSE(join_namespace(net->get(), CLONE_NEWUTS)) << "the wrong type";
}

// --- capabilities, limits, seccomp

TEST(Capabilities, Names) {
  EXPECT_EQ(*capability_from_name("CAP_SYS_ADMIN"), 21);
  EXPECT_EQ(*capability_from_name("net_raw"), 13);
  EXPECT_FALSE(capability_from_name("CAP_NOPE"));
  EXPECT_FALSE(capability_from_name(""));
  EXPECT_EQ(capability_name(40), "CAP_CHECKPOINT_RESTORE");
  EXPECT_EQ(capability_name(-1), "");
  EXPECT_EQ(capability_names(0b100001).size(), 2U);
  EXPECT_NE(all_capabilities() & capability_bit(0), 0U);
}

TEST_F(KernelTest, CapabilitiesOfAThread) {
  auto cloned = clone_process({});
  ASSERT_TRUE(cloned);
  if (cloned->pid == 0) {
    const auto keep = capability_bit(0) | capability_bit(8) | capability_bit(10);
    bool good = drop_bounding(keep).has_value() && set_capabilities({keep, keep, keep, keep, 0}).has_value() &&
                set_ambient(capability_bit(10)).has_value();
    const auto now = current_capabilities();
    good = good && now && *now == CapabilitySets{keep, keep, keep, keep, capability_bit(10)};
    good = good && !set_capabilities({0, all_capabilities(), 0, all_capabilities(), 0});
    ::_exit(good ? 0 : 1);
  }
  ChildProcess child(cloned->pid, std::move(cloned->pidfd));
  EXPECT_EQ(child.wait()->code, 0);
}

TEST(Rlimits, Names) {
  EXPECT_EQ(*rlimit_from_name("nofile"), 7);
  EXPECT_EQ(*rlimit_from_name("RLIMIT_RTTIME"), 15);
  EXPECT_FALSE(rlimit_from_name("files"));
  EXPECT_EQ(rlimit_name(7), "RLIMIT_NOFILE");
  EXPECT_EQ(rlimit_name(99), "");
  const auto limit = get_rlimit(7);
  ASSERT_TRUE(limit);
  EXPECT_TRUE(set_rlimit(7, *limit));
  EXPECT_FALSE(set_rlimit(7, {2, 1}));
}

TEST(Seccomp, NoFilterIsNoFilter) {
  EXPECT_EQ(load_seccomp_filter({}, 0).error().kind(), ErrorKind::invalid);
  const std::array<std::uint8_t, 7> odd{};
  EXPECT_FALSE(load_seccomp_filter(odd, 0));
}

// --- sockets

TEST(Sockets, MessagesCarryDescriptors) {
  const auto pair = socket_pair();
  ASSERT_TRUE(pair);
  const auto file = make_memfd("test");
  ASSERT_TRUE(file);
  ASSERT_TRUE(write_all(file->get(), "content"));
  const int fd = file->get();
  ASSERT_TRUE(send_message(pair->first.get(), bytes("hello"), std::span(&fd, 1)));
  auto message = receive_message(pair->second.get(), 100, 1);
  ASSERT_TRUE(message);
  EXPECT_EQ(text(message->bytes), "hello");
  ASSERT_EQ(message->fds.size(), 1U);
  EXPECT_NE(::fcntl(message->fds[0].get(), F_GETFD) & FD_CLOEXEC, 0);
  ASSERT_EQ(::lseek(message->fds[0].get(), 0, SEEK_SET), 0);
  EXPECT_EQ(*read_all(message->fds[0].get(), 100), "content");
}

TEST(Sockets, BoundsHold) {
  const auto pair = socket_pair();
  const int fd = pair->first.get();
  ASSERT_TRUE(send_message(fd, bytes("too long"), {}));
  EXPECT_EQ(receive_message(pair->second.get(), 4).error().kind(), ErrorKind::invalid);
  const std::array fds{fd, fd};
  ASSERT_TRUE(send_message(fd, bytes("x"), fds));
  EXPECT_EQ(receive_message(pair->second.get(), 4, 1).error().kind(), ErrorKind::invalid);
  EXPECT_FALSE(send_message(fd, bytes("x"), std::vector<int>(max_message_fds + 1, fd)));
}

TEST(Sockets, ThePeersEndIsSeen) {
  auto pair = socket_pair();
  pair->first.reset();
  EXPECT_TRUE(receive_message(pair->second.get(), 4)->end);
  EXPECT_EQ(send_message(pair->second.get(), bytes("x")).error().kind(), ErrorKind::unavailable);
}

TEST(Sockets, BlocksOfAnySize) {
  const auto pair = stream_pair();
  ASSERT_TRUE(pair);
  const std::string big(3 << 20, 'x');
  auto cloned = clone_process({});
  if (cloned->pid == 0) {
    const int fd = pair->first.get();
    (void)send_block(fd, bytes(big), std::span(&fd, 1));
    (void)send_block(fd, bytes(big));
    ::_exit(0);
  }
  ChildProcess child(cloned->pid, std::move(cloned->pidfd));
  const auto block = receive_block(pair->second.get(), 4 << 20, 1);
  ASSERT_TRUE(block) << block.error().text();
  EXPECT_EQ(block->bytes.size(), big.size());
  EXPECT_EQ(block->fds.size(), 1U);
  EXPECT_EQ(receive_block(pair->second.get(), 1 << 20).error().kind(), ErrorKind::invalid);
}

TEST_F(KernelTest, ListeningOnLongPaths) {
  const auto directory = top_ + "/" + std::string(120, 'd');
  ASSERT_TRUE(make_directories(directory));
  const auto path = directory + "/socket";
  ASSERT_TRUE(listen_unix(path, SocketType::stream));
  const auto again = listen_unix(path, SocketType::seqpacket);
  ASSERT_TRUE(again) << again.error().text();
  struct stat status{};
  ASSERT_EQ(::stat(path.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600U);
  const auto connection = connect_unix(path, SocketType::seqpacket);
  ASSERT_TRUE(connection) << connection.error().text();
  const UniqueFd accepted(::accept4(again->get(), nullptr, nullptr, SOCK_CLOEXEC));
  EXPECT_EQ(peer_credentials(accepted.get())->pid, ::getpid());
  EXPECT_FALSE(connect_unix(top_ + "/nobody", SocketType::stream));
}

// --- events and terminals

TEST(Events, EpollTimersAndEventfds) {
  auto epoll = Epoll::create();
  ASSERT_TRUE(epoll);
  const auto event = make_eventfd();
  const auto timer = make_timerfd();
  ASSERT_TRUE(epoll->add(event->get(), EPOLLIN, 1));
  ASSERT_TRUE(epoll->add(timer->get(), EPOLLIN, 2));
  std::vector<Epoll::Event> events;
  ASSERT_TRUE(epoll->wait(events, std::chrono::milliseconds(0)));
  EXPECT_TRUE(events.empty());
  EXPECT_EQ(*eventfd_read(event->get()), 0U);
  ASSERT_TRUE(eventfd_signal(event->get()));
  ASSERT_TRUE(epoll->wait(events, std::chrono::milliseconds(-1)));
  ASSERT_EQ(events.size(), 1U);
  EXPECT_EQ(events[0].token, 1U);
  EXPECT_EQ(*eventfd_read(event->get()), 1U);
  ASSERT_TRUE(timerfd_arm(timer->get(), std::chrono::milliseconds(1)));
  ASSERT_TRUE(epoll->wait(events, std::chrono::seconds(5)));
  ASSERT_EQ(events.size(), 1U);
  EXPECT_EQ(events[0].token, 2U);
  EXPECT_EQ(*timerfd_read(timer->get()), 1U);
  EXPECT_TRUE(epoll->remove(timer->get()));
  EXPECT_FALSE(epoll->add(-1, EPOLLIN, 3));
}

TEST(Events, SignalsAsDescriptors) {
  sigset_t before;
  ::sigprocmask(SIG_SETMASK, nullptr, &before);
  const auto fd = make_signalfd({SIGUSR1});
  ASSERT_TRUE(fd);
  EXPECT_FALSE(signalfd_read(fd->get())->has_value());
  ::raise(SIGUSR1);
  EXPECT_EQ(*signalfd_read(fd->get()), SIGUSR1);
  ::sigprocmask(SIG_SETMASK, &before, nullptr);
}

TEST_F(KernelTest, Terminals) {
  auto pty = open_pty();
  ASSERT_TRUE(pty) << pty.error().text();
  ASSERT_TRUE(set_window_size(pty->master.get(), {40, 120}));
  EXPECT_EQ(window_size(pty->slave.get())->columns, 120);
  const auto not_devpts = open_directory(top_);
  ASSERT_TRUE(write_file_atomic(top_ + "/ptmx", ""));
  EXPECT_FALSE(open_pty(not_devpts->get()));
  EXPECT_FALSE(window_size(not_devpts->get()));
}

// --- files

TEST_F(KernelTest, FilesAreBounded) {
  ASSERT_TRUE(write_file_atomic(top_ + "/file", std::string(5000, 'x'), 0600, Sync::yes));
  EXPECT_EQ(read_file(top_ + "/file")->size(), 5000U);
  EXPECT_EQ(read_file(top_ + "/file", 4999).error().kind(), ErrorKind::invalid);
  EXPECT_EQ(read_file(top_ + "/nope").error().kind(), ErrorKind::not_found);
  EXPECT_FALSE(read_file(top_));
  ASSERT_EQ(::mkfifo((top_ + "/fifo").c_str(), 0600), 0);
  EXPECT_FALSE(read_file(top_ + "/fifo"));
  EXPECT_FALSE(write_existing(top_ + "/new", "x"));
  struct stat status{};
  ASSERT_EQ(::stat((top_ + "/file").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600U);
}

TEST_F(KernelTest, TreesAreRemovedWithoutFollowingLinks) {
  fs::create_directories(top_ + "/keep");
  ASSERT_TRUE(write_file_atomic(top_ + "/keep/file", "x"));
  std::string deep = top_ + "/tree";
  for (int i = 0; i < 200; ++i) deep += "/dir";
  ASSERT_TRUE(make_directories(deep));
  fs::create_directory_symlink(top_ + "/keep", top_ + "/tree/link");
  ASSERT_TRUE(write_file_atomic(top_ + "/tree/file", "x"));
  ASSERT_TRUE(remove_tree(top_ + "/tree"));
  EXPECT_FALSE(fs::exists(top_ + "/tree"));
  EXPECT_TRUE(fs::exists(top_ + "/keep/file"));
  EXPECT_TRUE(remove_tree(top_ + "/nothing"));
}

TEST_F(KernelTest, RemovalGivesUpWhenItIsTold) {
  for (const char* name : {"/tree/a/b", "/tree/c"}) ASSERT_TRUE(make_directories(top_ + name));
  std::atomic<bool> stop = true;
  const auto stopped = remove_tree_until(AT_FDCWD, top_ + "/tree", stop);
  ASSERT_TRUE(stopped) << stopped.error().text();
  EXPECT_FALSE(*stopped);
  EXPECT_EQ(::access((top_ + "/tree").c_str(), F_OK), 0);
  stop = false;
  EXPECT_TRUE(remove_tree_until(AT_FDCWD, top_ + "/tree", stop).value_or(false));
  EXPECT_NE(::access((top_ + "/tree").c_str(), F_OK), 0);
  EXPECT_TRUE(remove_tree_until(AT_FDCWD, top_ + "/tree", stop).value_or(false)) << "what is not there is gone";
}

TEST_F(KernelTest, SealedMemoryFilesCannotChange) {
  const auto file = make_memfd("test");
  ASSERT_TRUE(write_all(file->get(), "x"));
  ASSERT_TRUE(seal_memfd(file->get()));
  EXPECT_FALSE(write_all(file->get(), "y"));
}

}  // namespace
}  // namespace corten::sys
