#include "sys/copy_tree.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "base/unique_fd.h"

namespace corten::sys {
namespace {

namespace fs = std::filesystem;

class CopyTreeTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = testing::TempDir() + "corten-copy-XXXXXX";
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    base_ = pattern;
    fs::create_directories(base_ / "from");
    fs::create_directories(base_ / "to");
  }
  void TearDown() override { fs::remove_all(base_); }
  Result<> copy() {
    const UniqueFd from(open((base_ / "from").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    const UniqueFd to(open((base_ / "to").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    return copy_tree(from.get(), to.get());
  }
  static struct stat status(const fs::path& path) {
    struct stat result{};
    EXPECT_EQ(lstat(path.c_str(), &result), 0) << path;
    return result;
  }
  fs::path base_;
};

TEST_F(CopyTreeTest, KeepsContentAndMetadata) {
  if (geteuid() != 0) GTEST_SKIP() << "changing owners needs root";
  const fs::path from = base_ / "from";
  fs::create_directories(from / "a/b");
  std::ofstream(from / "a/b/file") << "content";
  ASSERT_EQ(chown((from / "a/b/file").c_str(), 1234, 4321), 0);
  ASSERT_EQ(chmod((from / "a/b/file").c_str(), 04751), 0);
  ASSERT_EQ(setxattr((from / "a/b/file").c_str(), "user.note", "x", 1, 0), 0);
  fs::create_hard_link(from / "a/b/file", from / "a/second");
  fs::create_symlink("/nowhere/else", from / "link");
  ASSERT_EQ(mkfifo((from / "fifo").c_str(), 0600), 0);
  ASSERT_EQ(chmod(from.c_str(), 0710), 0);
  const auto done = copy();
  ASSERT_TRUE(done) << done.error().text();

  const fs::path to = base_ / "to";
  const struct stat file = status(to / "a/b/file");
  EXPECT_EQ(file.st_uid, 1234U);
  EXPECT_EQ(file.st_gid, 4321U);
  EXPECT_EQ(file.st_mode & 07777, 04751U);
  EXPECT_EQ(file.st_mtim.tv_nsec, status(from / "a/b/file").st_mtim.tv_nsec);
  EXPECT_EQ(file.st_ino, status(to / "a/second").st_ino);
  EXPECT_NE(file.st_ino, status(from / "a/b/file").st_ino);
  char value[2] = {};
  EXPECT_EQ(getxattr((to / "a/b/file").c_str(), "user.note", value, 1), 1);
  EXPECT_EQ(fs::read_symlink(to / "link"), "/nowhere/else");
  EXPECT_TRUE(S_ISFIFO(status(to / "fifo").st_mode));
  EXPECT_EQ(status(to).st_mode & 07777, 0710U);
}

TEST_F(CopyTreeTest, DoesNotFollowLinks) {
  std::ofstream(base_ / "outside") << "secret";
  fs::create_directory_symlink(base_, base_ / "from/dir");
  const auto done = copy();
  ASSERT_TRUE(done) << done.error().text();
  EXPECT_TRUE(fs::is_symlink(base_ / "to/dir"));
}

TEST_F(CopyTreeTest, SaysWhatStoodInTheWay) {
  std::ofstream(base_ / "from/file") << "new";
  std::ofstream(base_ / "to/file") << "old";
  const auto done = copy();
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().text(), "file: create: file exists");
}

}  // namespace
}  // namespace corten::sys
