#include "sys/cgroup_stats.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

namespace corten::sys {
namespace {

TEST(CgroupStats, ParsesKeyedFiles) {
  const auto map = parse_flat_keyed("cache 4096\nrss 0\nbroken\nbad x\nmax 18446744073709551615\n");
  EXPECT_EQ(map.size(), 3U);
  EXPECT_EQ(map.at("cache"), 4096U);
  EXPECT_EQ(map.at("max"), 18446744073709551615U);
  EXPECT_TRUE(parse_flat_keyed("").empty());
}

TEST(CgroupStats, ParsesBlockIo) {
  const auto v1 =
      parse_blkio_v1("254:0 Read 4096\n254:0 Write 1\n254:0 Total 4097\nTotal 4097\nx:y Read 1\n8: Read 3\n");
  ASSERT_EQ(v1.size(), 3U);
  EXPECT_EQ(v1[1].major, 254U);
  EXPECT_EQ(v1[1].op, "Write");
  EXPECT_EQ(v1[2].value, 4097U);
  const auto v2 =
      parse_io_stat_v2("8:0 rbytes=7 wbytes=9 rios=1 wios=2 dbytes=0 dios=0\n8:16\ngarbage\n253:1 rbytes=x wbytes=5\n");
  ASSERT_EQ(v2.size(), 3U);
  EXPECT_EQ(v2[0].op, "read");
  EXPECT_EQ(v2[1].value, 9U);
  EXPECT_EQ(v2[2].major, 253U);
}

TEST(CgroupStats, CountsARealGroup) {
  const auto host = CgroupHost::detect();
  ASSERT_TRUE(host);
  if (host->mode() == CgroupMode::none) GTEST_SKIP() << "no cgroup hierarchy is mounted";
  const auto parent = "corten-test-stats-" + std::to_string(::getpid());
  if (const auto ready = prepare_cgroup_parent(*host, parent); !ready) GTEST_SKIP() << ready.error().text();
  auto owner = CgroupDir::open(host->trees(), parent);
  ASSERT_TRUE(owner);
  owner->adopt();
  const auto group = CgroupDir::create(host->trees_for(), parent + "/a");
  ASSERT_TRUE(group) << group.error().text();
  int go[2];
  ASSERT_EQ(::pipe(go), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    char byte = 0;
    if (::read(go[0], &byte, 1) != 1) ::_exit(1);
    const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(20);
    while (std::chrono::steady_clock::now() < end) {
    }
    if (::read(go[0], &byte, 1) != 1) ::_exit(1);
    ::_exit(0);
  }
  ASSERT_TRUE(group->add_process(child));
  const auto before = read_cgroup_stats(*group);
  ASSERT_TRUE(before) << before.error().text();
  if (before->pids) {
    // A sanitizer has a thread of its own in each process.
    EXPECT_GE(before->pids->current, 1U);
    EXPECT_LE(before->pids->current, 2U);
    EXPECT_FALSE(before->pids->limit);
  }
  if (before->memory) {
    EXPECT_FALSE(before->memory->limit);
  }
  ASSERT_EQ(::write(go[1], "xx", 2), 2);
  ::waitpid(child, nullptr, 0);
  ::close(go[0]);
  ::close(go[1]);
  const auto after = read_cgroup_stats(*group);
  ASSERT_TRUE(after);
  ASSERT_TRUE(after->cpu);
  EXPECT_GT(after->cpu->total, std::chrono::milliseconds(1));
  EXPECT_LT(after->cpu->total, std::chrono::seconds(60));
  EXPECT_LE(after->cpu->user, after->cpu->total + std::chrono::milliseconds(20));
  if (after->pids) {
    EXPECT_EQ(after->pids->current, 0U);
  }
  if (after->memory) {
    EXPECT_FALSE(after->memory->stat.empty());
  }
}

}  // namespace
}  // namespace corten::sys
