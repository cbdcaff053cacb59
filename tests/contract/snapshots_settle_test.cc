// A build step's snapshot becomes a layer: as its tar would make it, and the same for the same changes.
#include <sys/xattr.h>

#include <set>

#include "tests/contract/snapshots_fixture.h"

namespace corten::store {
namespace {

TEST_P(SnapshotsContract, CommitTurnsTheActiveOneIntoALayer) {
  const std::string base = layer("", base_tar());
  ASSERT_TRUE(snapshots_->prepare("build", base));
  {
    ASSERT_TRUE(spill(mounted("build").get(), "made", "m"));
  }
  const auto size = snapshots_->settle("build", std::nullopt);
  ASSERT_TRUE(size) << size.error().text();
  EXPECT_EQ(size->bytes, 1U);
  EXPECT_EQ(size->inodes, 1U);
  StringSink tar;
  ASSERT_TRUE(snapshots_->write_diff("build", tar));
  const std::string chain = oci::chain_id(base, oci::Digest::of(tar.text).text());
  auto info = snapshots_->commit("build", chain, *size);
  ASSERT_TRUE(info) << info.error().text();
  EXPECT_EQ(info->bytes, 1U);
  EXPECT_FALSE(snapshots_->has("build"));
  ASSERT_TRUE(snapshots_->prepare("c", chain));
  EXPECT_EQ(slurp(mounted("c").get(), "made"), "m");
  open();
  EXPECT_EQ(slurp(mounted("c").get(), "made"), "m");
}

// What a step changes, in this order or the other way round.
void change(int root, bool reverse) {
  std::vector<std::function<void()>> changes = {
      [&] { EXPECT_EQ(::mkdirat(root, "new", 0750), 0); },
      [&] { EXPECT_TRUE(spill(root, "new-file", "n")); },
      [&] { EXPECT_TRUE(spill(root, "data/two", "2")); },
      [&] { EXPECT_EQ(::unlinkat(root, "bin/sh", 0), 0); },
      [&] { EXPECT_EQ(::symlinkat("/nowhere", root, "link"), 0); },
      [&] { EXPECT_TRUE(spill(root, "a1", "linked") && ::linkat(root, "a1", root, "a2", 0) == 0); },
      // Copied up, and as it was again.
      [&] { EXPECT_TRUE(::fchmodat(root, "same", 0700, 0) == 0 && ::fchmodat(root, "same", 0755, 0) == 0); },
      [&] { EXPECT_EQ(::mknodat(root, "data/socket", S_IFSOCK | 0700, 0), 0); },
      [&] { EXPECT_EQ(::fchmodat(root, ".", 0711, 0), 0); },
  };
  if (reverse) std::ranges::reverse(changes);
  for (const auto& make : changes) make();
  EXPECT_TRUE(::mkdirat(root, "new/below", 0755) == 0 && spill(root, "new/below/file", "f"));
  const UniqueFd file(::openat(root, "new-file", O_RDONLY | O_CLOEXEC));
  EXPECT_EQ(::fsetxattr(file.get(), "trusted.mine", "t", 1, 0), 0);
  EXPECT_EQ(::fsetxattr(file.get(), "user.note", "v", 1, 0), 0);
  const timespec old[] = {{1, 0}, {1'000'000'000, 7}};
  EXPECT_EQ(::utimensat(root, "a1", old, 0), 0);
}

std::set<std::string> names_in(const std::string& tar, const timespec& newest) {
  std::set<std::string> out;
  StringSource source(tar);
  TarReader reader(source);
  TarEntry entry;
  while (reader.next(entry).value_or(false)) {
    out.insert(entry.name);
    EXPECT_LE(entry.mtime.tv_sec, newest.tv_sec) << entry.name;
    if (entry.mtime.tv_sec == newest.tv_sec) {
      EXPECT_LE(entry.mtime.tv_nsec, newest.tv_nsec) << entry.name;
    }
    if (entry.name == "a1") {
      EXPECT_EQ(entry.mtime.tv_nsec, 7);
    }
  }
  return out;
}

TEST_P(SnapshotsContract, SettledFilesAreWhatTheirTarMakes) {
  const std::string base = layer("", TarMaker().add({.type = TarType::directory, .name = "same", .mode = 0755}).done());
  const std::string upper = layer(base, base_tar());
  const timespec newest{1'700'000'000, 500};
  const Timestamp clamp{std::chrono::nanoseconds(1'700'000'000'000'000'500)};
  std::string first;
  for (const bool reverse : {false, true}) {
    ASSERT_TRUE(snapshots_->prepare("step", upper));
    {
      change(mounted("step").get(), reverse);
    }
    const auto size = snapshots_->settle("step", clamp);
    ASSERT_TRUE(size) << size.error().text();
    StringSink tar;
    ASSERT_TRUE(snapshots_->write_diff("step", tar));
    EXPECT_THAT(names_in(tar.text, newest),
                testing::ElementsAre("a1", "a2", "bin/", "bin/.wh.sh", "data/", "data/two", "link", "new-file", "new/",
                                     "new/below/", "new/below/file"));
    EXPECT_EQ(size->inodes, 11U);
    EXPECT_EQ(size->bytes, 9U);
    if (reverse) {
      EXPECT_EQ(tar.text, first) << "the order of what was done shows";
      ASSERT_TRUE(snapshots_->remove("step"));
      continue;
    }
    first = tar.text;
    const std::string chain = oci::chain_id(upper, oci::Digest::of(tar.text).text());
    ASSERT_TRUE(snapshots_->commit("step", chain, *size));
    // Made again from the tar, as whoever pulls the image makes it.
    StringSource again(tar.text);
    const auto same = snapshots_->check_layer(chain, again, false);
    ASSERT_TRUE(same) << same.error().text();
    EXPECT_TRUE(*same);
  }
}

TEST_P(SnapshotsContract, SettledMarksHideWhatTheyHid) {
  const std::string base = layer("", TarMaker().dir("d").file("d/old", "o").dir("e").file("e/f", "f").done());
  ASSERT_TRUE(snapshots_->prepare("step", base));
  {
    const UniqueFd root = mounted("step");
    ASSERT_TRUE(::unlinkat(root.get(), "d/old", 0) == 0 && ::unlinkat(root.get(), "d", AT_REMOVEDIR) == 0);
    ASSERT_TRUE(::mkdirat(root.get(), "d", 0755) == 0 && spill(root.get(), "d/new", "n"));
    ASSERT_TRUE(::unlinkat(root.get(), "e/f", 0) == 0 && ::unlinkat(root.get(), "e", AT_REMOVEDIR) == 0);
    ASSERT_EQ(::mkdirat(root.get(), "e", 0755), 0);
  }
  const auto size = snapshots_->settle("step", Timestamp{});
  ASSERT_TRUE(size) << size.error().text();
  StringSink tar;
  ASSERT_TRUE(snapshots_->write_diff("step", tar));
  const std::string chain = oci::chain_id(base, oci::Digest::of(tar.text).text());
  ASSERT_TRUE(snapshots_->commit("step", chain, *size));
  ASSERT_TRUE(snapshots_->prepare("c", chain));
  const UniqueFd c = mounted("c");
  EXPECT_FALSE(exists(c.get(), "d/old"));
  EXPECT_EQ(slurp(c.get(), "d/new"), "n");
  EXPECT_TRUE(exists(c.get(), "e"));
  EXPECT_FALSE(exists(c.get(), "e/f"));
  StringSource again(tar.text);
  EXPECT_TRUE(snapshots_->check_layer(chain, again, false).value_or(false));
}

TEST_P(SnapshotsContract, NothingChangedSettlesToNothing) {
  const std::string base = layer("", base_tar());
  ASSERT_TRUE(snapshots_->prepare("step", base));
  {
    const UniqueFd root = mounted("step");
    ASSERT_TRUE(::fchmodat(root.get(), "data", 0700, 0) == 0 && ::fchmodat(root.get(), "data", 0755, 0) == 0);
    ASSERT_EQ(::mknodat(root.get(), "socket", S_IFSOCK | 0700, 0), 0);
  }
  const auto size = snapshots_->settle("step", std::nullopt);
  ASSERT_TRUE(size) << size.error().text();
  EXPECT_EQ(size->inodes, 0U);
  StringSink tar, empty;
  ASSERT_TRUE(snapshots_->write_diff("step", tar));
  ASSERT_TRUE(TarWriter(empty).finish());
  EXPECT_EQ(tar.text, empty.text);
  EXPECT_FALSE(snapshots_->settle("nobody", std::nullopt));
}

}  // namespace
}  // namespace corten::store
