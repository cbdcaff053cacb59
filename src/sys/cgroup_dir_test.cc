#include "sys/cgroup_dir.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>

#include "base/cleanup.h"
#include "sys/cgroup_moves.h"
#include "sys/cgroup_oom.h"
#include "sys/cgroup_stats.h"
#include "sys/process.h"

namespace corten::sys {
namespace {

using namespace std::chrono_literals;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(CgroupHost, ReadsAllShapesOfMountinfo) {
  constexpr auto none = [](const std::string&) { return std::string(); };
  constexpr auto some = [](const std::string&) { return std::string("cpuset cpu io memory hugetlb pids\n"); };
  const auto pure =
      CgroupHost::parse("28 25 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n", some);
  EXPECT_EQ(pure.mode(), CgroupMode::v2);
  ASSERT_NE(pure.tree_of("memory"), nullptr);
  EXPECT_EQ(pure.tree_of("memory")->mount_point, "/sys/fs/cgroup");
  EXPECT_EQ(pure.trees_for().size(), 1U);

  const auto hybrid = CgroupHost::parse(
      "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n"
      "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
      "33 31 0:30 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n"
      "34 31 0:31 / /sys/fs/cgroup/with\\040space rw - cgroup cgroup rw,memory\n"
      "35 31 0:31 / /again rw - cgroup cgroup rw,memory\n"
      "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
      [](const std::string&) { return std::string("hugetlb\n"); });
  EXPECT_EQ(hybrid.mode(), CgroupMode::hybrid);
  EXPECT_EQ(hybrid.trees().size(), 3U);
  EXPECT_EQ(hybrid.tree_of("cpuacct")->mount_point, "/sys/fs/cgroup/cpu,cpuacct");
  EXPECT_EQ(hybrid.tree_of("memory")->mount_point, "/sys/fs/cgroup/with space");
  EXPECT_EQ(hybrid.trees_for().size(), 2U);
  EXPECT_EQ(hybrid.trees_for({"hugetlb"}).size(), 3U);
  EXPECT_THAT(hybrid.controllers(), ElementsAre("cpu", "cpuacct", "hugetlb", "memory"));

  EXPECT_EQ(CgroupHost::parse("", none).mode(), CgroupMode::none);
  EXPECT_EQ(CgroupHost::parse("x\n1 2 3\n - \n1 2 3 4 5 6 - cgroup\n", none).mode(), CgroupMode::none);
}

TEST(CgroupPath, IsCleanedOrRefused) {
  EXPECT_EQ(clean_cgroup_path("/a//b/./c/").value(), "a/b/c");
  EXPECT_EQ(clean_cgroup_path("").value(), "");
  for (const std::string bad : {"../a", "a/..", "/a/../../b", "system.slice:docker:abc", "a\nb"})
    EXPECT_EQ(clean_cgroup_path(bad).error().kind(), ErrorKind::invalid) << bad;
  EXPECT_FALSE(clean_cgroup_path(std::string(300, 'x')));
  EXPECT_FALSE(clean_cgroup_path(std::string_view("a\0b", 3)));
}

// A child that does nothing until it is killed; killed and reaped with the object.
class Sleeper {
 public:
  Sleeper() : pid_(::fork()) {
    if (pid_ != 0) return;
    for (;;) ::pause();
  }
  Sleeper(const Sleeper&) = delete;
  Sleeper& operator=(const Sleeper&) = delete;
  ~Sleeper() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  pid_t pid() const { return pid_; }
  int wait_signal() {
    int status = 0;
    ::waitpid(std::exchange(pid_, 0), &status, 0);
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
  }

 private:
  pid_t pid_;
};

class CgroupDirTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto host = CgroupHost::detect();
    ASSERT_TRUE(host) << host.error().text();
    host_ = *host;
    if (host_.mode() == CgroupMode::none) GTEST_SKIP() << "no cgroup hierarchy is mounted";
    parent_ = "corten-test-" + std::to_string(::getpid());
    const auto ready = prepare_cgroup_parent(host_, parent_);
    if (!ready) GTEST_SKIP() << ready.error().text();
  }
  void TearDown() override {
    auto parent = CgroupDir::open(host_.trees(), parent_);
    if (!parent) return;
    EXPECT_TRUE(parent->kill_all(5s));
    const auto removed = parent->remove(5s);
    EXPECT_TRUE(removed) << removed.error().text();
  }
  CgroupDir make(const std::string& name) {
    auto group = CgroupDir::create(host_.trees_for(), parent_ + "/" + name);
    EXPECT_TRUE(group) << group.error().text();
    return group ? std::move(*group) : CgroupDir();
  }

  CgroupHost host_;
  std::string parent_;
};

TEST_F(CgroupDirTest, LivesAndIsRemovedWithItsOwner) {
  {
    const CgroupDir group = make("a");
    ASSERT_TRUE(group);
    EXPECT_THAT(list_cgroup_children(host_, parent_), ElementsAre("a"));
    const auto again = CgroupDir::create(host_.trees_for(), parent_ + "/a");
    ASSERT_FALSE(again);
    EXPECT_EQ(again.error().kind(), ErrorKind::conflict);
    EXPECT_THAT(list_cgroup_children(host_, parent_), ElementsAre("a"));
  }
  EXPECT_THAT(list_cgroup_children(host_, parent_), IsEmpty());
  EXPECT_EQ(CgroupDir::open(host_.trees(), parent_ + "/a").error().kind(), ErrorKind::not_found);
}

TEST_F(CgroupDirTest, HoldsAndKillsProcesses) {
  CgroupDir group = make("a");
  Sleeper one;
  Sleeper two;
  ASSERT_TRUE(group.empty().value());
  ASSERT_TRUE(group.add_process(one.pid()));
  ASSERT_TRUE(group.add_process(two.pid()));
  EXPECT_FALSE(group.empty().value());
  std::vector<pid_t> both{one.pid(), two.pid()};
  std::ranges::sort(both);
  EXPECT_EQ(group.pids().value(), both);
  EXPECT_FALSE(group.add_process(0x3fffffff));
  EXPECT_EQ(group.remove(20ms).error().sys_errno(), EBUSY);
  // The sleepers are zombies until the test reaps them, and zombies are in no group.
  const auto killed = group.kill_all(5s);
  ASSERT_TRUE(killed) << killed.error().text();
  EXPECT_EQ(one.wait_signal(), SIGKILL);
  EXPECT_EQ(two.wait_signal(), SIGKILL);
  EXPECT_TRUE(group.empty().value());
}

TEST_F(CgroupDirTest, FreezesKillsFrozenAndRemovesNested) {
  CgroupDir group = make("a");
  CgroupDir inner = make("a/b");
  inner.release();
  Sleeper sleeper;
  ASSERT_TRUE(inner.add_process(sleeper.pid()));
  EXPECT_FALSE(group.frozen().value());
  const auto frozen = group.freeze(5s);
  ASSERT_TRUE(frozen) << frozen.error().text();
  EXPECT_TRUE(group.frozen().value());
  ASSERT_TRUE(group.thaw(5s));
  EXPECT_FALSE(group.frozen().value());
  ASSERT_TRUE(inner.freeze(5s));
  ASSERT_TRUE(group.kill_all(5s));
  EXPECT_EQ(sleeper.wait_signal(), SIGKILL);
  const auto removed = group.remove(5s);
  EXPECT_TRUE(removed) << removed.error().text();
  EXPECT_THAT(list_cgroup_children(host_, parent_), IsEmpty());
}

// The v2 ways of freezing and killing need no controller, so a hybrid host shows them as well.
TEST_F(CgroupDirTest, FreezesAndKillsOnTheV2TreeAlone) {
  const CgroupTree* tree = host_.v2_tree();
  if (tree == nullptr) GTEST_SKIP() << "no v2 tree";
  auto group = CgroupDir::create({*tree}, parent_ + "-v2");
  ASSERT_TRUE(group) << group.error().text();
  EXPECT_FALSE(group->uses_v1());
  auto inner = CgroupDir::create({*tree}, parent_ + "-v2/inner");
  ASSERT_TRUE(inner) << inner.error().text();
  inner->release();
  EXPECT_TRUE(group->empty().value());
  Sleeper sleeper;
  ASSERT_TRUE(inner->add_process(sleeper.pid()));
  EXPECT_FALSE(group->empty().value());
  EXPECT_THAT(group->pids().value(), ElementsAre(sleeper.pid()));
  const auto frozen = group->freeze(5s);
  ASSERT_TRUE(frozen) << frozen.error().text();
  EXPECT_TRUE(group->frozen().value());
  ASSERT_TRUE(group->thaw(5s));
  EXPECT_FALSE(group->frozen().value());
  ASSERT_TRUE(inner->freeze(5s));
  const auto killed = group->kill_all(5s);
  ASSERT_TRUE(killed) << killed.error().text();
  EXPECT_EQ(sleeper.wait_signal(), SIGKILL);
  EXPECT_EQ(group->rename("other").error().kind(), ErrorKind::unavailable);
  const auto stats = read_cgroup_stats(*group);
  ASSERT_TRUE(stats);
  EXPECT_TRUE(stats->cpu);
  EXPECT_FALSE(stats->v1);
  const auto removed = group->remove(5s);
  EXPECT_TRUE(removed) << removed.error().text();
}

// A first process is born in the group; nothing is moved.
TEST_F(CgroupDirTest, StartsAProcessInsideOnV2) {
  const CgroupTree* tree = host_.v2_tree();
  if (tree == nullptr) GTEST_SKIP() << "no v2 tree";
  auto group = CgroupDir::create({*tree}, parent_ + "-born");
  ASSERT_TRUE(group) << group.error().text();
  auto child = clone_process({.cgroup = group->v2_directory()});
  ASSERT_TRUE(child) << child.error().text();
  if (child->pid == 0)
    for (;;) ::pause();
  EXPECT_THAT(group->pids().value(), ElementsAre(child->pid));
  ASSERT_TRUE(group->kill_all(5s));
  ChildProcess owner(child->pid, std::move(child->pidfd));
  EXPECT_EQ(owner.wait()->signal, SIGKILL);
}

TEST_F(CgroupDirTest, AppliesSettingsOrSaysWhyNot) {
  const CgroupDir group = make("a");
  std::vector<std::string> warnings;
  if (group.directory_of("pids") >= 0) {
    ASSERT_TRUE(group.apply({{.controller = "pids", .file = "pids.max", .value = "7", .warning = {}}}, warnings));
    EXPECT_EQ(group.read("pids", "pids.max").value(), "7\n");
    const auto bad = group.apply({{.controller = "pids", .file = "pids.max", .value = "x", .warning = {}}}, warnings);
    EXPECT_EQ(bad.error().kind(), ErrorKind::invalid);
  }
  const auto absent =
      group.apply({{.controller = "nosuch", .file = "nosuch.max", .value = "1", .warning = {}}}, warnings);
  EXPECT_EQ(absent.error().kind(), ErrorKind::unavailable);
  EXPECT_THAT(warnings, IsEmpty());
  ASSERT_TRUE(
      group.apply({{.controller = "nosuch", .file = "nosuch.max", .value = "1", .warning = "no such"}}, warnings));
  EXPECT_THAT(warnings, ElementsAre("no such"));
}

TEST_F(CgroupDirTest, IsRenamedInEachTreeOfV1) {
  CgroupDir group = make("ready");
  const auto renamed = group.rename("used");
  if (!group.uses_v1()) {
    EXPECT_EQ(renamed.error().kind(), ErrorKind::unavailable);
    return;
  }
  ASSERT_TRUE(renamed) << renamed.error().text();
  EXPECT_EQ(group.path(), parent_ + "/used");
  EXPECT_THAT(list_cgroup_children(host_, parent_), ElementsAre("used"));
  EXPECT_FALSE(group.rename("a/b"));
}

TEST_F(CgroupDirTest, NoticesAnOutOfMemoryKill) {
  const CgroupDir group = make("a");
  if (group.directory_of("memory") < 0) GTEST_SKIP() << "no memory controller";
  constexpr std::size_t limit = 8U << 20;
  const bool v1 = group.read("memory", "memory.oom_control").has_value();
  std::vector<std::string> warnings;
  const auto text = std::to_string(limit);
  ASSERT_TRUE(
      group.apply({{"memory", v1 ? "memory.limit_in_bytes" : "memory.max", text, ""},
                   {"memory", v1 ? "memory.memsw.limit_in_bytes" : "memory.swap.max", v1 ? text : "0", "no swap"}},
                  warnings));
  auto watch = OomWatch::open(group);
  ASSERT_TRUE(watch) << watch.error().text();
  EXPECT_EQ(oom_kill_count(group).value(), 0U);
  int go[2];
  ASSERT_EQ(::pipe(go), 0);
  const pid_t hog = ::fork();
  if (hog == 0) {
    char byte = 0;
    if (::read(go[0], &byte, 1) != 1) ::_exit(1);
    auto* memory = static_cast<volatile char*>(
        ::mmap(nullptr, 4 * limit, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    for (std::size_t i = 0; i < 4 * limit; i += 4096) memory[i] = 1;
    ::_exit(0);
  }
  ASSERT_TRUE(group.add_process(hog));
  ASSERT_EQ(::write(go[1], "x", 1), 1);
  int status = 0;
  ASSERT_EQ(::waitpid(hog, &status, 0), hog);
  ::close(go[0]);
  ::close(go[1]);
  ASSERT_TRUE(WIFSIGNALED(status));
  EXPECT_EQ(WTERMSIG(status), SIGKILL);
  pollfd waiting{.fd = watch->fd(), .events = POLLIN, .revents = 0};
  EXPECT_EQ(::poll(&waiting, 1, 5000), 1);
  watch->drain();
  EXPECT_EQ(::poll(&waiting, 1, 0), 0);
  EXPECT_EQ(oom_kill_count(group).value(), 1U);
}

TEST_F(CgroupDirTest, ProbesFeaturesAndLeavesNothing) {
  const auto features = probe_cgroup_features(host_, parent_);
  ASSERT_TRUE(features) << features.error().text();
  EXPECT_EQ(features->pids_limit, host_.tree_of("pids") != nullptr);
  EXPECT_EQ(features->memory_limit, host_.tree_of("memory") != nullptr);
  EXPECT_THAT(list_cgroup_children(host_, parent_), IsEmpty());
}

TEST(FastCgroupMoves, CanBeTurnedOnTwice) {
  for (int i = 0; i < 2; ++i) {
    const auto moves = FastCgroupMoves::enable();
    if (!moves) {
      EXPECT_TRUE(moves.error().kind() == ErrorKind::unavailable || moves.error().sys_errno() == EPERM)
          << moves.error().text();
      GTEST_SKIP() << moves.error().text();
    }
  }
}

}  // namespace
}  // namespace corten::sys
