// The real program, forking.
#include "shimproto/zygote.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <set>
#include <sstream>

#include "shimproto/shim_client.h"
#include "shimproto/wire.h"
#include "sys/files.h"
#include "sys/process.h"

namespace corten::shimproto {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

std::string proc(pid_t pid, std::string_view file) {
  return sys::read_file(fmt::format("/proc/{}/{}", pid, file), 4096).value_or("");
}

// "S ppid pgrp session" from /proc/PID/stat.
std::vector<std::string> relations(pid_t pid) {
  const std::string stat = proc(pid, "stat");
  std::vector<std::string> words(4);
  const auto name_end = stat.rfind(')');
  if (name_end == std::string::npos) return words;  // it has gone meanwhile
  std::istringstream rest(stat.substr(name_end + 1));
  for (auto& word : words) rest >> word;
  return words;
}

bool ends(int pidfd) { return sys::pidfd_wait_ended(pidfd, 10s).value_or(false); }

class ZygoteTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!fs::exists(CORTEN_SHIM_PATH)) GTEST_SKIP() << "needs " CORTEN_SHIM_PATH;
  }
};

TEST_F(ZygoteTest, ItsShimsAreOurChildrenAndHaveNothingOfEachOther) {
  const auto zygote = Zygote::start(CORTEN_SHIM_PATH).value();
  std::vector<SpawnedShim> shims;
  for (int i = 0; i < 3; ++i) shims.push_back(zygote.fork_shim(20s).value());
  for (const auto& shim : shims) {
    const std::string own = std::to_string(shim.pid);
    EXPECT_EQ(relations(shim.pid)[1], std::to_string(::getpid()));
    EXPECT_EQ(relations(shim.pid)[3], own) << "not a session of its own";
    EXPECT_EQ(proc(shim.pid, "comm"), "corten-shim\n");
    EXPECT_THAT(proc(shim.pid, "cmdline"), testing::Not(testing::HasSubstr(zygote_title)));
    std::multiset<std::string> sockets;
    for (const auto& entry : fs::directory_iterator(fmt::format("/proc/{}/fd", shim.pid))) {
      std::error_code gone;
      const auto target = fs::read_symlink(entry.path(), gone).string();
      if (target.starts_with("socket:")) sockets.insert(entry.path().filename());
    }
    EXPECT_THAT(sockets, testing::ElementsAre("3"));
  }
  // The end of one's socket ends that one only.
  shims[1].socket.reset();
  EXPECT_TRUE(ends(shims[1].pidfd.get()));
  EXPECT_TRUE(reap_shim(shims[1].pidfd.get()));
  for (const int other : {0, 2}) {
    EXPECT_FALSE(reap_shim(shims[other].pidfd.get()));
    shims[other].socket.reset();
    EXPECT_TRUE(ends(shims[other].pidfd.get()) && reap_shim(shims[other].pidfd.get()));
  }
}

TEST_F(ZygoteTest, ItEndsWithItsSocketAndItsShimsDoNot) {
  auto zygote = std::make_unique<Zygote>(Zygote::start(CORTEN_SHIM_PATH).value());
  const auto shim = zygote->fork_shim(20s).value();
  const auto pidfd = zygote->pidfd();
  zygote.reset();
  EXPECT_TRUE(ends(pidfd->get()));
  EXPECT_TRUE(reap_shim(pidfd->get()));
  EXPECT_EQ(::kill(shim.pid, SIGKILL), 0);
  EXPECT_TRUE(ends(shim.pidfd.get()) && reap_shim(shim.pidfd.get()));
}

TEST_F(ZygoteTest, OneThatWasKilledIsUnavailable) {
  const auto zygote = Zygote::start(CORTEN_SHIM_PATH).value();
  ASSERT_TRUE(sys::pidfd_send_signal(zygote.pidfd()->get(), SIGKILL));
  ASSERT_TRUE(ends(zygote.pidfd()->get()));
  EXPECT_EQ(zygote.fork_shim().error().kind(), ErrorKind::unavailable);
  EXPECT_TRUE(reap_shim(zygote.pidfd()->get()));
}

TEST_F(ZygoteTest, OneThatIsStoppedIsEnded) {
  const auto zygote = Zygote::start(CORTEN_SHIM_PATH).value();
  ASSERT_TRUE(sys::pidfd_send_signal(zygote.pidfd()->get(), SIGSTOP));
  EXPECT_EQ(zygote.fork_shim(100ms).error().kind(), ErrorKind::unavailable);
  EXPECT_TRUE(ends(zygote.pidfd()->get()));
  EXPECT_TRUE(reap_shim(zygote.pidfd()->get()));
}

TEST_F(ZygoteTest, MessagesThatAreNoneOfItsOwnAreIgnored) {
  const auto process = spawn_shim(CORTEN_SHIM_PATH, zygote_title).value();
  const UniqueFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  const std::vector<int> two{null.get(), null.get()};
  const auto send = [&](MessageType type, std::span<const int> fds) {
    return send_message(process.socket.get(), type, 0, "x", fds, std::chrono::steady_clock::now() + 10s);
  };
  EXPECT_TRUE(send(MessageType::start, {}));
  EXPECT_TRUE(send(MessageType::fork, {}));
  EXPECT_TRUE(send(MessageType::fork, two));
  auto [ours, theirs] = make_shim_sockets().value();
  const int fd = theirs.get();
  EXPECT_TRUE(send(MessageType::fork, std::span(&fd, 1)));
  theirs.reset();
  pollfd waiting{ours.get(), POLLIN, 0};
  ASSERT_EQ(::poll(&waiting, 1, 20'000), 1);
  pid_t pid = 0;
  ASSERT_EQ(::recv(ours.get(), &pid, sizeof pid, MSG_DONTWAIT), static_cast<ssize_t>(sizeof pid));
  const UniqueFd pidfd = sys::pidfd_open(pid).value();
  ours.reset();
  EXPECT_TRUE(ends(pidfd.get()) && reap_shim(pidfd.get()));
}

// Child processes of ours that wait to fork.
std::vector<pid_t> zygotes() {
  std::vector<pid_t> found;
  for (const auto& entry : fs::directory_iterator("/proc")) {
    const std::string name = entry.path().filename();
    if (!std::all_of(name.begin(), name.end(), [](char c) { return c >= '0' && c <= '9'; })) continue;
    const pid_t pid = std::stoi(name);
    if (relations(pid)[1] == std::to_string(::getpid()) && relations(pid)[0] != "Z" &&
        proc(pid, "cmdline").find(zygote_title) != std::string::npos)
      found.push_back(pid);
  }
  return found;
}

std::vector<pid_t> wait_for_zygotes(bool some, const std::function<void()>& meanwhile = [] {}) {
  for (int i = 0; i < 2000; ++i) {
    if (auto found = zygotes(); found.empty() != some) return found;
    meanwhile();
    ::usleep(5000);
  }
  ADD_FAILURE() << "zygotes: waited for " << (some ? "one" : "their end");
  return {};
}

// Whether or not the forking process lives, a start finds a shim: this one refuses its garbage of a plan, so it is
// there.
TEST_F(ZygoteTest, AHubDoesWithoutItWhenItMust) {
  auto hub = ShimHub::create({.shim_path = CORTEN_SHIM_PATH}).value();
  const UniqueFd dir(::open(testing::TempDir().c_str(), O_DIRECTORY | O_CLOEXEC));
  StartRequest request;
  request.container_id = std::string(64, 'a');
  request.plan = "garbage";
  request.run_dir = dir.get();
  const auto start = [&] { return hub->start(request, {}).error(); };
  hub->warm_up();
  for (const int signo : {SIGKILL, SIGSTOP}) {
    // The next one comes when shims are made after its end has been noticed.
    wait_for_zygotes(true, [&] { (void)start(); });
    // What looks like a second one is a shim that has not got its own title yet, or one that is just ending.
    auto found = zygotes();
    for (int i = 0; i < 2000 && found.size() != 1; ++i, found = zygotes()) ::usleep(5000);
    ASSERT_EQ(found.size(), 1U);
    EXPECT_EQ(::kill(found.front(), signo), 0);
    // More than wait in the pool.
    for (int i = 0; i < 4; ++i) EXPECT_EQ(start().kind(), ErrorKind::invalid) << start().text();
  }
  wait_for_zygotes(true, [&] { (void)start(); });
  hub.reset();
  wait_for_zygotes(false);
}

}  // namespace
}  // namespace corten::shimproto
