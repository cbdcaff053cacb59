#include "context/pool.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <fstream>

#include <thread>

#include "context/pool_pack.h"
#include "store/store_fixture.h"

namespace corten::context {
namespace {

using store::TempTree;

std::string text_of(const Pool& pool, const oci::Digest& digest) {
  auto fd = pool.reader(digest);
  if (!fd) return "<" + fd.error().text() + ">";
  store::FdSource source(fd->get());
  return store::read_all(source, 64U << 20, "content").value_or("<unreadable>");
}

class PoolTest : public ::testing::Test {
 protected:
  std::unique_ptr<Pool> open(std::uint64_t max = 1ULL << 30) {
    auto pool = Pool::open(scratch_.path() + "/pool", max);
    EXPECT_TRUE(pool) << pool.error().text();
    return std::move(*pool);
  }
  std::vector<std::filesystem::path> files() const {
    std::vector<std::filesystem::path> out;
    for (const auto& one : std::filesystem::recursive_directory_iterator(scratch_.path() + "/pool"))
      if (one.is_regular_file()) out.push_back(one.path());
    return out;
  }
  std::filesystem::path folder() const {
    return std::filesystem::directory_iterator(scratch_.path() + "/pool")->path();
  }
  // As if the machine had been started anew.
  void reboot() const { std::filesystem::rename(folder(), folder().parent_path() / std::string(32, '7')); }

  TempTree scratch_;
  const std::string large_ = std::string(300'000, 'L');
};

TEST_F(PoolTest, KeepsSmallAndLargeOnes) {
  const auto pool = open();
  const auto hold = pool->hold();
  for (const std::string& text : {std::string(), std::string("small"), std::string(Pack::max_content, 'x'),
                                  std::string(Pack::max_content + 1, 'y'), large_}) {
    const auto digest = pool->add(text, *hold);
    ASSERT_TRUE(digest) << digest.error().text();
    EXPECT_EQ(*digest, oci::Digest::of(text));
    EXPECT_TRUE(pool->has(*digest));
    EXPECT_EQ(text_of(*pool, *digest), text);
    EXPECT_EQ(*pool->read(*digest, text.size()), text);
    if (!text.empty()) {
      EXPECT_EQ(pool->read(*digest, text.size() - 1).error().kind(), ErrorKind::invalid);
    }
  }
  const oci::Digest other = oci::Digest::of("not there");
  EXPECT_FALSE(pool->has(other));
  EXPECT_EQ(pool->reader(other).error().kind(), ErrorKind::not_found);
  EXPECT_EQ(pool->read(other, 10).error().kind(), ErrorKind::not_found);
  EXPECT_FALSE(hold->keep(other));
}

TEST_F(PoolTest, OnceEachAndCounted) {
  const auto pool = open();
  auto hold = pool->hold();
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(pool->add("same", *hold));
    ASSERT_TRUE(pool->add(large_, *hold));
  }
  EXPECT_EQ(pool->usage().contents, 2U);
  EXPECT_EQ(pool->usage().bytes, 4 + large_.size());
  EXPECT_EQ(pool->usage().held_bytes, 4 + large_.size());
  EXPECT_EQ(files().size(), 2U);  // a pack and a file
  hold.reset();
  EXPECT_EQ(pool->usage().held_bytes, 0U);
}

TEST_F(PoolTest, WritersMakeHolesAndLeaveNothingBehind) {
  const auto pool = open();
  const auto hold = pool->hold();
  auto writer = *pool->writer(*hold);
  ASSERT_TRUE(writer->write(std::as_bytes(std::span(large_))));
  ASSERT_TRUE(writer->write_zeros(8U << 20));
  ASSERT_TRUE(writer->write(std::as_bytes(std::span("end", 3))));
  EXPECT_EQ(writer->size(), large_.size() + (8U << 20) + 3);
  const auto digest = writer->commit();
  writer.reset();
  const std::string whole = large_ + std::string(8U << 20, '\0') + "end";
  EXPECT_EQ(*digest, oci::Digest::of(whole));
  EXPECT_EQ(text_of(*pool, *digest), whole);
  struct stat status{};
  ASSERT_EQ(::fstat(pool->reader(*digest)->get(), &status), 0);
  EXPECT_LT(status.st_blocks * 512, 4 << 20);

  auto small = *pool->writer(*hold);
  ASSERT_TRUE(small->write_zeros(10));
  EXPECT_EQ(*small->commit(), oci::Digest::of(std::string(10, '\0')));

  auto given_up = *pool->writer(*hold);
  ASSERT_TRUE(given_up->write(std::as_bytes(std::span(large_))));
  const std::size_t before = files().size();
  given_up.reset();
  EXPECT_EQ(files().size(), before - 1);
}

TEST_F(PoolTest, OutlivesTheProcess) {
  oci::Digest small, large;
  {
    const auto pool = open();
    const auto hold = pool->hold();
    small = *pool->add("small", *hold);
    large = *pool->add(large_, *hold);
  }
  const auto pool = open();
  EXPECT_EQ(pool->usage().contents, 2U);
  EXPECT_EQ(text_of(*pool, small), "small");
  EXPECT_EQ(text_of(*pool, large), large_);
  const auto hold = pool->hold();
  EXPECT_TRUE(hold->keep(small));
  ASSERT_TRUE(pool->add("small", *hold));
  EXPECT_EQ(pool->usage().contents, 2U);
}

TEST_F(PoolTest, APackThatWasCutEndsAtItsLastWholeRecord) {
  oci::Digest first, second;
  {
    const auto pool = open();
    const auto hold = pool->hold();
    first = *pool->add("the first", *hold);
    second = *pool->add("the second", *hold);
  }
  ASSERT_EQ(files().size(), 1U);
  std::filesystem::resize_file(files()[0], std::filesystem::file_size(files()[0]) - 1);
  const auto pool = open();
  EXPECT_TRUE(pool->has(first));
  EXPECT_FALSE(pool->has(second));
}

TEST_F(PoolTest, WhatAKilledProcessLeftGoes) {
  {
    open()->usage();
  }
  std::ofstream(folder() / "tmp-1-2") << "half";
  std::ofstream(folder() / "what is this") << "?";
  EXPECT_EQ(open()->usage().contents, 0U);
  EXPECT_TRUE(files().empty());
}

TEST_F(PoolTest, AfterARebootTornContentsAreNeverUsed) {
  oci::Digest good, torn, small;
  const std::string other(200'000, 'o');
  {
    const auto pool = open();
    const auto hold = pool->hold();
    good = *pool->add(large_, *hold);
    torn = *pool->add(other, *hold);
    small = *pool->add("small", *hold);
  }
  for (const auto& file : files())
    if (file.filename().string().starts_with(torn.hex())) std::ofstream(file, std::ios::in | std::ios::out) << '\0';
  reboot();
  const auto pool = open();
  EXPECT_EQ(pool->usage().contents, 2U);
  const auto hold = pool->hold();
  EXPECT_TRUE(hold->keep(good));
  EXPECT_FALSE(hold->keep(torn));
  EXPECT_FALSE(pool->has(small));
  EXPECT_EQ(text_of(*pool, good), large_);
  EXPECT_EQ(pool->reader(torn).error().kind(), ErrorKind::not_found);
  EXPECT_EQ(files().size(), 1U);
  // Checked once: it is this boot's now.
  EXPECT_EQ(files()[0].parent_path().filename().string().size(), 32U);
  EXPECT_NE(files()[0].parent_path().filename(), std::string(32, '7'));
  // And a torn one can come again.
  EXPECT_EQ(*pool->add(other, *hold), torn);
  EXPECT_EQ(text_of(*pool, torn), other);
}

TEST_F(PoolTest, OneThatComesAgainBeforeItIsCheckedReplacesTheOldOne) {
  {
    const auto pool = open();
    const auto hold = pool->hold();
    ASSERT_TRUE(pool->add(large_, *hold));
  }
  std::ofstream(files()[0], std::ios::in | std::ios::out) << "torn";
  reboot();
  const auto pool = open();
  const auto hold = pool->hold();
  const auto digest = pool->add(large_, *hold);
  EXPECT_EQ(text_of(*pool, *digest), large_);
  EXPECT_EQ(pool->usage().contents, 1U);
  EXPECT_EQ(files().size(), 1U);
}

TEST_F(PoolTest, TheLeastRecentlyUsedGoWhenItIsFull) {
  const auto pool = open(1'000'000);
  const auto kept = pool->hold();
  const oci::Digest held = *pool->add(std::string(300'000, 'h'), *kept);
  std::vector<oci::Digest> loose;
  for (const char c : {'a', 'b', 'c', 'd'}) {
    const auto hold = pool->hold();
    loose.push_back(*pool->add(std::string(200'000, c), *hold));
    if (c == 'c') {  // so "b" is the oldest
      EXPECT_TRUE(pool->has(loose[0]));
    }
  }
  EXPECT_TRUE(pool->has(held));
  EXPECT_TRUE(pool->has(loose[0]));
  EXPECT_FALSE(pool->has(loose[1]));
  EXPECT_TRUE(pool->has(loose[3]));
  EXPECT_LE(pool->usage().bytes, 1'000'000U);
  // What is held alone may be more.
  std::vector<oci::Digest> more;
  for (const char c : {'1', '2', '3', '4', '5', '6'}) more.push_back(*pool->add(std::string(300'000, c), *kept));
  for (const oci::Digest& digest : more) EXPECT_TRUE(pool->has(digest));
  EXPECT_TRUE(pool->has(held));
}

TEST_F(PoolTest, PruneTakesWhatNobodyHoldsAndEmptiesPacks) {
  const auto pool = open();
  const auto kept = pool->hold();
  auto loose = pool->hold();
  std::vector<oci::Digest> held;
  // More than a pack: the first one has few held contents left.
  for (int i = 0; i < 2'200; ++i) {
    std::string text(60'000, 'z');
    text += std::to_string(i);
    const auto digest = pool->add(text, i % 300 == 0 ? *kept : *loose);
    ASSERT_TRUE(digest) << digest.error().text();
    if (i % 300 == 0) held.push_back(*digest);
  }
  ASSERT_EQ(files().size(), 2U);
  loose.reset();
  EXPECT_GT(*pool->prune(0), 100'000'000U);
  EXPECT_EQ(files().size(), 1U);
  for (const oci::Digest& digest : held) EXPECT_EQ(oci::Digest::of(text_of(*pool, digest)), digest);
  EXPECT_EQ(pool->usage().contents, held.size());
}

TEST_F(PoolTest, AFullDiskIsAClearErrorAndLeavesNothing) {
  if (::geteuid() != 0) GTEST_SKIP() << "mounting needs root";
  ASSERT_EQ(::mkdir((scratch_.path() + "/pool").c_str(), 0700), 0);
  // In a mount namespace of a thread's own, which takes the disk with it.
  std::jthread([&] {
    ASSERT_EQ(::unshare(CLONE_NEWNS), 0);
    ASSERT_EQ(::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr), 0);
    ASSERT_EQ(::mount("tmpfs", (scratch_.path() + "/pool").c_str(), "tmpfs", 0, "size=8m"), 0);
    const auto pool = open();
    const auto hold = pool->hold();
    const oci::Digest before = *pool->add(large_, *hold);
    // What nobody holds makes room: each of these reaches the disk's reserve.
    for (const char fill : {'1', '2', '3'}) {
      const auto another = pool->hold();
      EXPECT_TRUE(pool->add(std::string(7'750'000, fill), *another)) << fill;
    }
    EXPECT_EQ(pool->usage().contents, 2U);
    const auto large = pool->add(std::string(20U << 20, 'x'), *hold);
    ASSERT_FALSE(large);
    EXPECT_EQ(large.error().kind(), ErrorKind::exhausted);
    EXPECT_NE(large.error().text().find("no space left on device"), std::string::npos) << large.error().text();
    Result<> small;
    for (int i = 0; i < 400 && small; ++i) {
      const auto one = pool->add(std::string(60'000, 's') + std::to_string(i), *hold);
      if (!one) small = std::unexpected(one.error());
    }
    ASSERT_FALSE(small);
    EXPECT_EQ(small.error().kind(), ErrorKind::exhausted) << small.error().text();
    EXPECT_EQ(text_of(*pool, before), large_);
    for (const auto& file : files()) EXPECT_FALSE(file.filename().string().starts_with("tmp-")) << file;
  }).join();
}

TEST_F(PoolTest, ManyThreadsAtOnce) {
  const auto pool = open(3'000'000);
  std::atomic<int> wrong{0};
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < 4; ++t)
      threads.emplace_back([&, t] {
        for (int i = 0; i < 60; ++i) {
          const auto hold = pool->hold();
          const std::string text((t + i) % 2 == 0 ? 90'000 : 900, static_cast<char>('a' + (t * 7 + i) % 20));
          const auto digest = pool->add(text, *hold);
          if (!digest || text_of(*pool, *digest) != text) ++wrong;
          if (i % 20 == 0) static_cast<void>(pool->prune(100'000));
        }
      });
  }
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(pool->usage().held_bytes, 0U);
  ASSERT_TRUE(pool->prune(0));
  EXPECT_EQ(pool->usage().bytes, 0U);
  EXPECT_LE(files().size(), 1U);
}

}  // namespace
}  // namespace corten::context
