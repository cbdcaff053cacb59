#include "sys/beneath.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <thread>

#include "sys/files.h"

namespace corten::sys {
namespace {

namespace fs = std::filesystem;

class BeneathTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = (fs::temp_directory_path() / "corten-beneath-XXXXXX").string();
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    top_ = name;
    fs::create_directories(top_ + "/root/dir");
    fs::create_directories(top_ + "/outside");
    ASSERT_TRUE(write_file_atomic(top_ + "/outside/secret", "secret"));
    ASSERT_TRUE(write_file_atomic(top_ + "/root/dir/file", "inside"));
    root_ = *open_directory(top_ + "/root");
  }
  void TearDown() override { EXPECT_TRUE(remove_tree(top_)); }
  std::string content(std::string_view path, Resolve resolve) {
    const auto fd = open_beneath(root_.get(), path, O_RDONLY, resolve);
    return fd ? *read_all(fd->get(), 100) : errno_text(fd.error().sys_errno());
  }
  std::string top_;
  UniqueFd root_;
};

TEST_F(BeneathTest, LinksStayInside) {
  fs::create_symlink("/dir/file", top_ + "/root/absolute");
  fs::create_symlink("../../../outside/secret", top_ + "/root/up");
  EXPECT_EQ(content("absolute", Resolve::in_root), "inside");
  EXPECT_EQ(content("/dir/../../../dir/file", Resolve::in_root), "inside");
  EXPECT_EQ(content("up", Resolve::in_root), "no such file or directory");
  EXPECT_EQ(content("up", Resolve::beneath), "invalid cross-device link");
  EXPECT_EQ(content("absolute", Resolve::beneath), "invalid cross-device link");
  EXPECT_EQ(content("absolute", Resolve::no_symlinks), "too many levels of symbolic links");
  EXPECT_EQ(content("dir/file", Resolve::same_mount), "inside");
}

TEST_F(BeneathTest, MagicLinksAreRefused) {
  const auto proc = open_directory("/proc");
  ASSERT_TRUE(proc);
  EXPECT_FALSE(open_beneath(proc->get(), fmt::format("self/fd/{}", root_.get()), O_PATH, Resolve::in_root));
  EXPECT_FALSE(open_beneath(proc->get(), "self/root/etc", O_PATH, Resolve::in_root));
}

TEST_F(BeneathTest, BadPaths) {
  EXPECT_FALSE(open_beneath(root_.get(), std::string_view("a\0b", 3), O_RDONLY));
  EXPECT_FALSE(open_beneath(root_.get(), std::string(5000, 'a'), O_RDONLY));
  EXPECT_TRUE(open_beneath(root_.get(), "/", O_PATH));
  EXPECT_TRUE(open_beneath(root_.get(), "", O_PATH));
}

TEST_F(BeneathTest, DirectoriesAreMadeInside) {
  fs::create_symlink("/dir", top_ + "/root/link");
  fs::create_symlink("../outside", top_ + "/root/out");
  fs::create_symlink("/missing", top_ + "/root/dangling");
  EXPECT_TRUE(make_directories_beneath(root_.get(), "/link/a/b/./c/"));
  EXPECT_TRUE(fs::is_directory(top_ + "/root/dir/a/b/c"));
  (void)make_directories_beneath(root_.get(), "out/evil");
  EXPECT_FALSE(fs::exists(top_ + "/outside/evil"));
  EXPECT_FALSE(make_directories_beneath(root_.get(), "dangling/x"));
  EXPECT_FALSE(make_directories_beneath(root_.get(), "new/../../x"));
  EXPECT_FALSE(make_directories_beneath(root_.get(), "dir/file/x"));
  EXPECT_FALSE(make_directories_beneath(root_.get(), "link/x", 0755, Resolve::no_symlinks));
}

TEST_F(BeneathTest, FilesAreMadeInside) {
  fs::create_symlink("../outside/new", top_ + "/root/out");
  EXPECT_TRUE(make_file_beneath(root_.get(), "a/b/file"));
  EXPECT_TRUE(fs::is_regular_file(top_ + "/root/a/b/file"));
  EXPECT_TRUE(make_file_beneath(root_.get(), "dir/file"));
  EXPECT_EQ(make_file_beneath(root_.get(), "dir").error().sys_errno(), EISDIR);
  EXPECT_FALSE(make_file_beneath(root_.get(), "out")) << "a dangling link must not be written through";
  EXPECT_FALSE(fs::exists(top_ + "/outside/new"));
  EXPECT_FALSE(make_file_beneath(root_.get(), "a/.."));
}

TEST_F(BeneathTest, LinksAreReadAndMade) {
  EXPECT_TRUE(symlink_beneath(root_.get(), "/dir/link", "/any/where"));
  EXPECT_EQ(*read_link_beneath(root_.get(), "dir/link"), "/any/where");
  EXPECT_EQ(symlink_beneath(root_.get(), "dir/link", "x").error().sys_errno(), EEXIST);
  EXPECT_FALSE(read_link_beneath(root_.get(), "dir/file"));
}

TEST_F(BeneathTest, ASwappingPeerGainsNothing) {
  fs::create_directories(top_ + "/root/a");
  fs::create_symlink(top_ + "/outside", top_ + "/root/b");
  std::atomic<bool> stop = false;
  std::thread swapper([&] {
    const auto a = top_ + "/root/a";
    const auto b = top_ + "/root/b";
    while (!stop) (void)::renameat2(AT_FDCWD, a.c_str(), AT_FDCWD, b.c_str(), RENAME_EXCHANGE);
  });
  for (int i = 0; i < 2000; ++i) {
    (void)make_file_beneath(root_.get(), fmt::format("a/f{}", i));
    (void)make_directories_beneath(root_.get(), fmt::format("a/d{}/e", i));
    EXPECT_NE(content("a/secret", Resolve::in_root), "secret");
  }
  stop = true;
  swapper.join();
  EXPECT_EQ(std::distance(fs::directory_iterator(top_ + "/outside"), fs::directory_iterator()), 1);
}

TEST(SplitPath, Parts) {
  const auto check = [](std::string_view path, std::string_view parent, std::string_view name) {
    const auto split = split_path(path);
    EXPECT_EQ(split.parent, parent) << path;
    EXPECT_EQ(split.name, name) << path;
  };
  check("/a/b/", "/a", "b");
  check("b", "", "b");
  check("/b", "", "b");
  check("/", "", "");
  check("", "", "");
}

}  // namespace
}  // namespace corten::sys
