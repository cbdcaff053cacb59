#include "volume/volumes.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

namespace corten::volume {
namespace {

class VolumesTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = testing::TempDir() + "corten-volumes-XXXXXX";
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    base_ = pattern;
  }
  void TearDown() override { std::filesystem::remove_all(base_); }
  std::unique_ptr<Volumes> open() { return std::move(*Volumes::open(base_ + "/volumes")); }
  std::string base_;
};

TEST_F(VolumesTest, OutlivesTheDaemon) {
  auto first = open();
  const auto made = first->create({.name = "data", .labels = {{"a", "b"}}});
  ASSERT_TRUE(made) << made.error().text();
  std::ofstream(made->mountpoint + "/file") << "kept";
  first.reset();
  auto second = open();
  const auto found = second->get("data");
  ASSERT_TRUE(found);
  EXPECT_EQ(found->labels.at("a"), "b");
  EXPECT_EQ(found->created, made->created);
  EXPECT_FALSE(*second->is_empty("data"));
}

TEST_F(VolumesTest, RefusesRemovalWhileUsed) {
  auto volumes = open();
  ASSERT_TRUE(volumes->create({.name = "data"}));
  ASSERT_TRUE(volumes->reference("data", "abc"));
  EXPECT_EQ(volumes->remove("data").error().text(), "remove data: volume is in use - [abc]");
  EXPECT_EQ(volumes->remove("data", true).error().kind(), ErrorKind::conflict);
  volumes->release("data", "abc");
  EXPECT_TRUE(volumes->remove("data"));
  EXPECT_FALSE(std::filesystem::exists(base_ + "/volumes/data"));
  EXPECT_EQ(volumes->remove("data").error().text(), "get data: no such volume");
  EXPECT_TRUE(volumes->remove("data", true));
}

TEST_F(VolumesTest, AnonymousNamesAreIds) {
  auto volumes = open();
  const auto made = volumes->create({});
  ASSERT_TRUE(made);
  EXPECT_EQ(made->name.size(), 64U);
  EXPECT_TRUE(made->anonymous);
}

TEST_F(VolumesTest, RefusesNamesThatLeaveTheRoot) {
  auto volumes = open();
  for (const char* name : {"..", ".", "a", "a/b", "../x", "-x", "a b", "\xff\xff"})
    EXPECT_EQ(volumes->create({.name = name}).error().kind(), ErrorKind::invalid) << name;
  EXPECT_FALSE(volumes->create({.name = std::string(300, 'a')}));
  EXPECT_EQ(volumes->create({.name = "ok", .driver = "nfs"}).error().kind(), ErrorKind::not_found);
}

TEST_F(VolumesTest, ClearsWhatACrashLeftButNeverData) {
  std::filesystem::create_directories(base_ + "/volumes/half/_data");
  std::filesystem::create_directories(base_ + "/volumes/lost/_data");
  std::ofstream(base_ + "/volumes/lost/_data/file") << "kept";
  auto volumes = open();
  EXPECT_FALSE(std::filesystem::exists(base_ + "/volumes/half"));
  EXPECT_TRUE(std::filesystem::exists(base_ + "/volumes/lost/_data/file"));
  EXPECT_FALSE(volumes->get("lost"));
}

}  // namespace
}  // namespace corten::volume
