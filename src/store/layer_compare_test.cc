#include "store/layer_compare.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "store/store_fixture.h"

namespace corten::store {
namespace {

class LayerCompare : public testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "owners and trusted attributes need root";
    for (const char* side : {"a", "b"}) make(side);
  }
  void make(const std::string& side) {
    ASSERT_EQ(::mkdirat(base_.get(), side.c_str(), 0755), 0);
    const UniqueFd top = open(side);
    ASSERT_EQ(::mkdirat(top.get(), "dir", 0755), 0);
    ASSERT_TRUE(spill(top.get(), "dir/file", std::string(300'000, 'x')));
    ASSERT_EQ(::symlinkat("dir/file", top.get(), "link"), 0);
    ASSERT_EQ(::mknodat(top.get(), "gone", S_IFCHR, 0), 0);
    const timespec times[2] = {{1, 2}, {1, 2}};
    for (const char* name : {"dir/file", "link", "gone", "dir", "."})
      ASSERT_EQ(::utimensat(top.get(), name, times, AT_SYMLINK_NOFOLLOW), 0);
  }
  UniqueFd open(const std::string& path, int flags = O_RDONLY) {
    return UniqueFd(::openat(base_.get(), path.c_str(), flags | O_CLOEXEC));
  }
  bool same(TreeKind kind = TreeKind::unpacked) {
    const auto result = same_tree(open("a").get(), open("b").get(), kind);
    EXPECT_TRUE(result) << result.error().text();
    return result && *result;
  }
  // As if nothing had happened.
  void keep_time(const std::string& path) {
    const timespec times[2] = {{1, 2}, {1, 2}};
    ASSERT_EQ(::utimensat(base_.get(), path.c_str(), times, AT_SYMLINK_NOFOLLOW), 0);
  }

  TempTree root_;
  UniqueFd base_ = root_.open();
};

TEST_F(LayerCompare, EqualTreesAreTheSame) { EXPECT_TRUE(same()); }

TEST_F(LayerCompare, WhatCannotBeReadIsNotTheSame) {
  // Its first page is nobody's: reading it is EIO. Like it, the other one has no size.
  const UniqueFd unreadable(::open("/proc/self/mem", O_RDONLY | O_CLOEXEC));
  const UniqueFd empty(::openat(base_.get(), "empty", O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  char byte = 0;
  ASSERT_EQ(::pread(unreadable.get(), &byte, 1, 0), -1);
  ASSERT_EQ(errno, EIO);
  const auto same = same_file(unreadable.get(), empty.get());
  ASSERT_TRUE(same) << same.error().text();
  EXPECT_FALSE(*same);
  const auto fresh = same_file(empty.get(), unreadable.get());
  ASSERT_FALSE(fresh) << "what was made just now must be readable";
  EXPECT_EQ(fresh.error().sys_errno(), EIO);
}

TEST_F(LayerCompare, NoMoreDescriptorsSayNothing) {
  const UniqueFd one = open("a"), other = open("b");
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  rlimit none = before;
  none.rlim_cur = 3;
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
  const auto same = same_tree(one.get(), other.get());
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
  ASSERT_FALSE(same);
  EXPECT_EQ(same.error().kind(), ErrorKind::exhausted) << same.error().text();
}

TEST_F(LayerCompare, OneBitOfAFileIsSeen) {
  const UniqueFd file = open("b/dir/file", O_RDWR);
  ASSERT_EQ(::pwrite(file.get(), "y", 1, 299'999), 1);
  keep_time("b/dir/file");
  EXPECT_FALSE(same());
}

TEST_F(LayerCompare, AShorterFileIsSeen) {
  ASSERT_EQ(::ftruncate(open("b/dir/file", O_RDWR).get(), 299'999), 0);
  keep_time("b/dir/file");
  EXPECT_FALSE(same());
}

TEST_F(LayerCompare, NamesAreSeen) {
  ASSERT_EQ(::unlinkat(base_.get(), "b/gone", 0), 0);
  keep_time("b");
  EXPECT_FALSE(same());
}

TEST_F(LayerCompare, OwnersModesAndTimesAreSeen) {
  ASSERT_EQ(::fchownat(base_.get(), "b/link", 7, 7, AT_SYMLINK_NOFOLLOW), 0);
  EXPECT_FALSE(same());
  ASSERT_EQ(::fchownat(base_.get(), "b/link", 0, 0, AT_SYMLINK_NOFOLLOW), 0);
  EXPECT_TRUE(same());
  ASSERT_EQ(::fchmodat(base_.get(), "b/dir", 0700, 0), 0);
  EXPECT_FALSE(same());
  ASSERT_EQ(::fchmodat(base_.get(), "b/dir", 0755, 0), 0);
  const timespec times[2] = {{1, 2}, {1, 3}};
  ASSERT_EQ(::utimensat(base_.get(), "b/dir/file", times, 0), 0);
  EXPECT_FALSE(same());
}

TEST_F(LayerCompare, TimesOfDirectoriesAndNotesOfMountsAreNot) {
  const timespec times[2] = {{1, 2}, {1, 3}};
  ASSERT_EQ(::utimensat(base_.get(), "b/dir", times, 0), 0);
  ASSERT_EQ(::fsetxattr(open("b/dir").get(), "trusted.overlay.impure", "y", 1, 0), 0);
  EXPECT_TRUE(same());
}

// Of images both are what was written into them.
TEST_F(LayerCompare, WhenANameWasTakenAwayIsNot) {
  const timespec later[2] = {{9, 9}, {9, 9}};
  ASSERT_EQ(::utimensat(base_.get(), "b/gone", later, AT_SYMLINK_NOFOLLOW), 0);
  ASSERT_EQ(::fchownat(base_.get(), "b/gone", 7, 7, AT_SYMLINK_NOFOLLOW), 0);
  EXPECT_TRUE(same());
  ASSERT_TRUE(::unlinkat(base_.get(), "b/gone", 0) == 0 && spill(base_.get(), "b/gone", ""));
  EXPECT_FALSE(same());
}

TEST_F(LayerCompare, OfImagesTimesOfDirectoriesAndNumbersOfLinksAreSeen) {
  EXPECT_TRUE(same(TreeKind::image));
  ASSERT_EQ(::linkat(base_.get(), "b/dir/file", base_.get(), "another", 0), 0);
  EXPECT_FALSE(same(TreeKind::image));
  EXPECT_TRUE(same());
  ASSERT_EQ(::unlinkat(base_.get(), "another", 0), 0);
  EXPECT_TRUE(same(TreeKind::image));
  const timespec times[2] = {{1, 2}, {1, 3}};
  ASSERT_EQ(::utimensat(base_.get(), "b/dir", times, 0), 0);
  EXPECT_FALSE(same(TreeKind::image));
}

TEST_F(LayerCompare, LinksTargetsAreSeen) {
  ASSERT_EQ(::unlinkat(base_.get(), "b/link", 0), 0);
  ASSERT_EQ(::symlinkat("dir/fil3", base_.get(), "b/link"), 0);
  keep_time("b/link");
  keep_time("b");
  EXPECT_FALSE(same());
}

TEST_F(LayerCompare, OverlayMarksAreSeen) {
  ASSERT_EQ(::fsetxattr(open("b/dir").get(), "trusted.overlay.opaque", "y", 1, 0), 0);
  EXPECT_FALSE(same());
}

TEST_F(LayerCompare, FilesAreComparedToTheirEnds) {
  const UniqueFd one = open("a/dir/file"), other = open("b/dir/file", O_RDWR);
  EXPECT_TRUE(same_file(one.get(), other.get()).value());
  ASSERT_EQ(::ftruncate(other.get(), 300'001), 0);
  EXPECT_FALSE(same_file(one.get(), other.get()).value());
}

}  // namespace
}  // namespace corten::store
