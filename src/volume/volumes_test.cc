#include "volume/volumes.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <thread>

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

TEST_F(VolumesTest, GoesOnWithARemovalThatWasCutShort) {
  auto volumes = open();
  const auto made = volumes->create({.name = "data"});
  ASSERT_TRUE(made);
  volumes.reset();
  std::ofstream(made->mountpoint + "/file") << "x";
  std::filesystem::rename(base_ + "/volumes/data", base_ + "/volumes/.removing-0123");
  volumes = open();
  EXPECT_TRUE(std::filesystem::is_empty(base_ + "/volumes"));
  EXPECT_TRUE(volumes->list().empty());
}

TEST_F(VolumesTest, ADamagedRecordCostsOnlyItself) {
  auto volumes = open();
  const auto made = volumes->create({.name = "bad"});
  ASSERT_TRUE(made);
  ASSERT_TRUE(volumes->create({.name = "good"}));
  std::ofstream(made->mountpoint + "/file") << "kept";
  std::ofstream(base_ + "/volumes/bad/volume.json") << "{";
  volumes = open();
  EXPECT_TRUE(volumes->get("good"));
  EXPECT_FALSE(volumes->get("bad"));
  ASSERT_TRUE(volumes->create({.name = "bad"}));
  EXPECT_TRUE(std::filesystem::exists(made->mountpoint + "/file"));
  EXPECT_TRUE(open()->get("bad"));
}

// Its record is not flushed: after a power cut it may be empty or missing while the container's data are there.
TEST_F(VolumesTest, AnonymousOnesOutliveTheirRecord) {
  auto volumes = open();
  for (const bool missing : {false, true}) {
    const auto made = volumes->create({});
    ASSERT_TRUE(made);
    std::ofstream(made->mountpoint + "/file") << "kept";
    const std::string record = base_ + "/volumes/" + made->name + "/volume.json";
    if (missing)
      std::filesystem::remove(record);
    else
      std::ofstream(record, std::ios::trunc);
    volumes = open();
    const auto found = volumes->get(made->name);
    ASSERT_TRUE(found) << missing;
    EXPECT_TRUE(found->anonymous);
    EXPECT_FALSE(*volumes->is_empty(made->name));
  }
}

TEST_F(VolumesTest, RemovesTreesOfAnyDepth) {
  auto volumes = open();
  const auto made = volumes->create({.name = "deep"});
  ASSERT_TRUE(made);
  UniqueFd at(::open(made->mountpoint.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  for (int i = 0; i < 3000; ++i) {
    ASSERT_EQ(::mkdirat(at.get(), "d", 0755), 0);
    at = UniqueFd(::openat(at.get(), "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  }
  const auto removed = volumes->remove("deep");
  EXPECT_TRUE(removed) << removed.error().text();
  EXPECT_TRUE(std::filesystem::is_empty(base_ + "/volumes"));
}

// A new volume of the name must not lose its files to the removal of the old one.
TEST_F(VolumesTest, RemovalAndCreationOfOneNameAtOnce) {
  auto volumes = open();
  std::atomic<bool> stop = false;
  std::thread remover([&] {
    while (!stop) static_cast<void>(volumes->remove("data", true));
  });
  for (int i = 0; i < 200; ++i) {
    const auto made = volumes->create({.name = "data"});
    ASSERT_TRUE(made) << made.error().text();
    if (!volumes->reference("data", "user")) continue;
    EXPECT_TRUE(std::filesystem::exists(base_ + "/volumes/data/volume.json"));
    EXPECT_TRUE(volumes->open_data("data"));
    volumes->release("data", "user");
  }
  stop = true;
  remover.join();
}

TEST_F(VolumesTest, SubpathsStayInside) {
  auto volumes = open();
  const auto made = volumes->create({.name = "data"});
  ASSERT_TRUE(made);
  std::filesystem::create_directories(made->mountpoint + "/a/b");
  std::filesystem::create_symlink("/a/b", made->mountpoint + "/abs");
  std::filesystem::create_symlink(base_, made->mountpoint + "/out");
  std::filesystem::create_symlink("../../..", made->mountpoint + "/up");
  EXPECT_TRUE(volumes->open_subpath("data", "a/b"));
  EXPECT_TRUE(volumes->open_subpath("data", "a/../a/b"));
  EXPECT_THAT(volumes->open_subpath("data", "abs").error().text(), testing::HasSubstr("escapes the base directory"));
  EXPECT_FALSE(volumes->open_subpath("data", "out/volumes"));
  EXPECT_FALSE(volumes->open_subpath("data", "up/volumes"));
  EXPECT_EQ(volumes->open_subpath("data", "a/c").error().text(),
            "cannot access path " + made->mountpoint + "/a/c: no such file or directory");
}

}  // namespace
}  // namespace corten::volume
