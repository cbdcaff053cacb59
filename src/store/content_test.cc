// Blobs whose download broke off.
#include "store/content.h"

#include <gmock/gmock.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <filesystem>

#include "base/cleanup.h"
#include "store/failpoint.h"
#include "store/store_fixture.h"

namespace corten::store {
namespace {

const ContentStore* watched = nullptr;
int times_seen = 0;

// Whatever happens to the writer: some blob has the name.
void name_is_there(const char*) {
  ++times_seen;
  EXPECT_EQ(watched->list()->size(), 1U);
}

TEST(Content, ReplacesADamagedBlobInOneStep) {
  const TempTree tree;
  const auto content = *ContentStore::open(tree.path() + "/content");
  const auto put = content->put("sound");
  ASSERT_TRUE(put);
  ASSERT_TRUE(spill(AT_FDCWD, content->path(put->digest), "wrong"));
  auto wrong = content->writer();
  ASSERT_TRUE(wrong && wrong->write(std::as_bytes(std::span(std::string_view("other")))));
  EXPECT_EQ(wrong->replace(put->digest).error().kind(), ErrorKind::invalid);
  auto writer = content->writer();
  ASSERT_TRUE(writer && writer->write(std::as_bytes(std::span(std::string_view("sound")))));
  ASSERT_TRUE(writer->seal());
  watched = content.get();
  failpoint_hook = name_is_there;
  const auto done = writer->replace(put->digest);
  failpoint_hook = nullptr;
  ASSERT_TRUE(done) << done.error().text();
  EXPECT_GT(times_seen, 2);
  EXPECT_TRUE(content->verify(put->digest));
}

class PartialTest : public testing::Test {
 protected:
  void open() {
    content_.reset();
    auto opened = ContentStore::open(tree_.path() + "/content");
    ASSERT_TRUE(opened) << opened.error().text();
    content_ = std::move(*opened);
  }
  void SetUp() override { open(); }
  static std::span<const std::byte> span(std::string_view text) { return std::as_bytes(std::span(text)); }
  // Writes up to `end` of the blob and gives up.
  void leave(std::string_view bytes, std::size_t end) {
    auto writer = content_->resume(oci::Digest::of(bytes), bytes.size());
    ASSERT_TRUE(writer) << writer.error().text();
    ASSERT_TRUE(writer->write(span(bytes.substr(writer->size(), end - writer->size()))));
  }
  std::string file(std::string_view bytes) const {
    return tree_.path() + "/content/partial/" + std::string(oci::Digest::of(bytes).hex());
  }
  static std::string blob(char first, std::size_t size = 300'000) {
    std::string bytes(size, 'x');
    bytes[0] = first;
    return bytes;
  }
  bool partial_is_empty() const { return std::filesystem::is_empty(tree_.path() + "/content/partial"); }

  TempTree tree_;
  std::unique_ptr<ContentStore> content_;
};

TEST_F(PartialTest, GoesOnWhereTheLastOneEnded) {
  const std::string bytes = blob('a');
  const auto digest = oci::Digest::of(bytes);
  leave(bytes, 100'000);
  EXPECT_FALSE(content_->has(digest));
  EXPECT_GE(content_->partial_bytes(), 100'000U);
  leave(bytes, 200'000);
  open();
  auto writer = content_->resume(digest, bytes.size());
  ASSERT_TRUE(writer);
  EXPECT_EQ(writer->size(), 200'000U);
  const UniqueFd reader = std::move(*writer->reader());
  ASSERT_TRUE(writer->write(span(bytes.substr(200'000))));
  ASSERT_TRUE(writer->commit(digest, bytes.size()));
  EXPECT_EQ(*content_->read(digest), bytes);
  FdSource source(reader.get());
  EXPECT_EQ(*read_all(source, bytes.size(), "it"), bytes);
  EXPECT_TRUE(partial_is_empty());
}

TEST_F(PartialTest, WrongBytesAreFoundAndDropped) {
  const std::string bytes = blob('a');
  leave(bytes, 100'000);
  ASSERT_TRUE(spill(AT_FDCWD, file(bytes), std::string(100'000, 'z')));
  {
    auto writer = content_->resume(oci::Digest::of(bytes), bytes.size());
    ASSERT_TRUE(writer->write(span(bytes.substr(100'000))));
    const auto done = writer->commit(oci::Digest::of(bytes), bytes.size());
    ASSERT_FALSE(done);
    EXPECT_EQ(done.error().kind(), ErrorKind::invalid);
  }
  EXPECT_TRUE(partial_is_empty());
  EXPECT_TRUE(content_->list()->empty());
}

TEST_F(PartialTest, MoreThanThereCanBeCountsForNothing) {
  const std::string bytes = blob('a');
  leave(bytes, 100'000);
  ASSERT_TRUE(spill(AT_FDCWD, file(bytes), bytes + "more"));
  EXPECT_EQ(content_->resume(oci::Digest::of(bytes), bytes.size())->size(), 0U);
  EXPECT_TRUE(partial_is_empty());
}

TEST_F(PartialTest, HasOneWriterAtATimeAndIsNotRemovedUnderIt) {
  const std::string bytes = blob('a'), other = blob('b');
  leave(bytes, 100'000);
  leave(other, 100'000);
  const auto writer = content_->resume(oci::Digest::of(bytes), bytes.size());
  ASSERT_TRUE(writer);
  EXPECT_EQ(content_->resume(oci::Digest::of(bytes), bytes.size()).error().kind(), ErrorKind::conflict);
  EXPECT_GE(content_->remove_partial(), 100'000U);
  EXPECT_EQ(content_->partial_bytes(), 0U);
  EXPECT_TRUE(std::filesystem::exists(file(bytes)));
  EXPECT_FALSE(std::filesystem::exists(file(other)));
}

TEST_F(PartialTest, WhatIsSmallOrDroppedDoesNotStay) {
  const std::string small = blob('s', 1000), dropped = blob('d');
  leave(small, 500);
  {
    auto writer = content_->resume(oci::Digest::of(dropped), dropped.size());
    ASSERT_TRUE(writer->write(span(dropped)));
    writer->drop();
  }
  EXPECT_TRUE(partial_is_empty());
}

TEST_F(PartialTest, StopsReadingWhatIsThereAndKeepsIt) {
  const std::string bytes = blob('a');
  leave(bytes, 200'000);
  std::stop_source stop;
  stop.request_stop();
  const auto writer = content_->resume(oci::Digest::of(bytes), bytes.size(), stop.get_token());
  ASSERT_FALSE(writer);
  EXPECT_EQ(writer.error().kind(), ErrorKind::cancelled);
  EXPECT_EQ(content_->resume(oci::Digest::of(bytes), bytes.size())->size(), 200'000U);
}

TEST_F(PartialTest, MakesRoomOnAFullDisk) {
  content_.reset();
  const std::string directory = tree_.path() + "/content";
  if (::mount("none", directory.c_str(), "tmpfs", 0, "size=4m") != 0) GTEST_SKIP() << "mounts need root";
  const Cleanup unmount([&] {
    content_.reset();
    ::umount2(directory.c_str(), MNT_DETACH);
  });
  open();
  const std::string left = blob('l', 2'500'000), coming = blob('c', 3'000'000), too_much = blob('t', 5'000'000);
  leave(left, 2'400'000);
  const auto info = content_->put(coming);
  ASSERT_TRUE(info) << info.error().text();
  EXPECT_EQ(*content_->read(info->digest), coming);
  EXPECT_FALSE(std::filesystem::exists(file(left)));
  const auto full = content_->put(too_much);
  ASSERT_FALSE(full);
  EXPECT_EQ(full.error().kind(), ErrorKind::exhausted);
}

TEST_F(PartialTest, TheOldestGoWhenTheyAreManyOrOld) {
  const std::string old = blob('o');
  leave(old, 100'000);
  const timespec week_ago[2] = {{::time(nullptr) - 8 * 24 * 3600, 0}, {::time(nullptr) - 8 * 24 * 3600, 0}};
  ASSERT_EQ(::utimensat(AT_FDCWD, file(old).c_str(), week_ago, 0), 0);
  open();
  EXPECT_TRUE(partial_is_empty());
  std::vector<std::string> names;
  for (int i = 0; i < 70; ++i) {
    const std::string bytes = blob(static_cast<char>(i));
    leave(bytes, 70'000);
    names.push_back(file(bytes));
    const timespec times[2] = {{::time(nullptr) - 1000 + i, 0}, {::time(nullptr) - 1000 + i, 0}};
    ASSERT_EQ(::utimensat(AT_FDCWD, names.back().c_str(), times, 0), 0);
  }
  open();
  EXPECT_FALSE(std::filesystem::exists(names[5]));
  EXPECT_TRUE(std::filesystem::exists(names[6]));
  EXPECT_TRUE(std::filesystem::exists(names[69]));
}

}  // namespace
}  // namespace corten::store
