#include "context/walk.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/xattr.h>

#include "context/tree.h"
#include "store/store_fixture.h"

namespace corten::context {
namespace {

using store::spill;
using store::TempTree;

std::string names(const Listing& listing) {
  std::string out;
  for (const Entry& entry : listing.entries) out += (out.empty() ? "" : " ") + entry.path;
  return out;
}

class WalkTest : public ::testing::Test {
 protected:
  WalkTest() : top_(scratch_.open()) {}
  void dir(const std::string& name) const { ASSERT_EQ(::mkdirat(top_.get(), name.c_str(), 0755), 0) << name; }
  void file(const std::string& name, std::string_view text = "x") const { ASSERT_TRUE(spill(top_.get(), name, text)); }
  Result<Walked> walked(std::string_view ignore = "") const {
    const Ignore rules = *Ignore::parse(ignore, ".dockerignore");
    return walk(scratch_.path(), {.ignore = &rules});
  }

  TempTree scratch_;
  UniqueFd top_;
};

TEST_F(WalkTest, ListsEverythingInOrder) {
  dir("a");
  file("a/b", "four");
  file("a-b");
  dir("a/c");
  file("a/c/d");
  ASSERT_EQ(::symlinkat("../outside", top_.get(), "link"), 0);
  ASSERT_EQ(::mkfifoat(top_.get(), "pipe", 0600), 0);
  ASSERT_EQ(::fchmodat(top_.get(), "a-b", 04750, 0), 0);
  ASSERT_EQ(::fchownat(top_.get(), "a-b", 12, 34, 0), 0);
  const UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
  (scratch_.path() + "/socket").copy(address.sun_path, sizeof address.sun_path - 1);
  ASSERT_EQ(::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);

  const auto out = walked();
  ASSERT_TRUE(out) << out.error().text();
  EXPECT_EQ(names(out->listing), "a a/b a/c a/c/d a-b link pipe");
  const Entry* link = out->listing.find("link");
  EXPECT_EQ(link->kind, Kind::symlink);
  EXPECT_EQ(link->link, "../outside");
  EXPECT_EQ(out->listing.find("pipe")->kind, Kind::fifo);
  EXPECT_EQ(out->listing.find("a")->kind, Kind::directory);
  const Entry* b = out->listing.find("a/b");
  EXPECT_EQ(b->size, 4U);
  EXPECT_FALSE(b->digest);
  ASSERT_EQ(out->identities.size(), out->listing.entries.size());
  EXPECT_EQ(out->identities[1].size, 4U);
  EXPECT_NE(out->identities[1].inode, 0U);
  EXPECT_LE(out->identities[1].ctime_ns, out->started_ns + 20'000'000);  // the clock's tick
  // 0:0 whoever owns it, unless asked for.
  EXPECT_EQ(out->listing.find("a-b")->uid, 0U);
  const auto owned = walk(top_.get(), "here", {.owners = true});
  EXPECT_EQ(owned->listing.find("a-b")->gid, 34U);
}

TEST_F(WalkTest, IgnoresAndDoesNotEnterWhatItNeedNot) {
  dir("node_modules");
  file("node_modules/x");
  dir("docs");
  file("docs/keep.md");
  file("docs/drop.txt");
  dir("docs/empty");
  file("main.o");
  file("main.c");
  const auto out = walked("node_modules\ndocs\n!docs/*.md\n*.o\n");
  ASSERT_TRUE(out);
  EXPECT_EQ(names(out->listing), "docs docs/keep.md main.c");
  EXPECT_EQ(out->identities.size(), 3U);
  // The listing is what `without` makes of all.
  EXPECT_EQ(names(without(walked()->listing, *Ignore::parse("node_modules\ndocs\n!docs/*.md\n*.o\n", "x"))),
            names(out->listing));
  EXPECT_EQ(names(walked("*\n!docs/nothing\n")->listing), "");
}

TEST_F(WalkTest, ErrorsNameWhatIsWrong) {
  EXPECT_EQ(walk("/nowhere/at/all").error().kind(), ErrorKind::not_found);
  file("plain");
  EXPECT_EQ(walk(scratch_.path() + "/plain").error().kind(), ErrorKind::invalid);
  int at = top_.get();
  std::vector<UniqueFd> levels;
  for (std::size_t i = 0; i <= max_walk_depth; ++i) {
    ASSERT_EQ(::mkdirat(at, "d", 0755), 0);
    levels.emplace_back(::openat(at, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    at = levels.back().get();
  }
  const auto out = walked();
  ASSERT_FALSE(out);
  EXPECT_NE(out.error().text().find("levels of folders"), std::string::npos) << out.error().text();
}

TEST_F(WalkTest, StopsWhenAskedTo) {
  for (int i = 0; i < 600; ++i) file("f" + std::to_string(i));
  std::stop_source stop;
  stop.request_stop();
  EXPECT_EQ(walk(scratch_.path(), {}, stop.get_token()).error().kind(), ErrorKind::cancelled);
}

TEST_F(WalkTest, PartsOfAMountedTree) {
  dir("usr");
  dir("usr/bin");
  file("usr/bin/tool", "binary");
  file("usr/bin/other");
  dir("usr/lib");
  file("usr/lib/so");
  ASSERT_EQ(::symlinkat("usr/bin", top_.get(), "bin"), 0);
  ASSERT_EQ(::symlinkat("/etc/passwd", top_.get(), "usr/bin/evil"), 0);
  ASSERT_EQ(::setxattr((scratch_.path() + "/usr/bin/tool").c_str(), "user.k", "v", 1, 0), 0);
  const auto tree = mounted_tree(scratch_.open(), "image x", "chain");
  EXPECT_EQ(tree->name(), "image x");
  EXPECT_EQ(tree->identity(), "chain");
  EXPECT_EQ(names(**tree->part("usr/bin", {})), "usr usr/bin usr/bin/evil usr/bin/other usr/bin/tool");
  EXPECT_EQ(names(**tree->part("usr/bin/tool", {})), "usr usr/bin usr/bin/tool");
  EXPECT_EQ(names(**tree->part("bin/tool", {})), "bin");
  EXPECT_EQ(names(**tree->part("usr/none/x", {})), "usr");
  const auto part = *tree->part("usr/bin", {});
  const Entry* tool = part->find("usr/bin/tool");
  using Xattrs = std::vector<std::pair<std::string, std::string>>;
  EXPECT_EQ(tool->xattrs, (Xattrs{{"user.k", "v"}}));
  EXPECT_EQ(*tree->digest(*tool, {}), oci::Digest::of("binary"));
  EXPECT_EQ(*tree->digest(*tool, {}), oci::Digest::of("binary"));
  EXPECT_EQ(*tree->read(*tool, 100), "binary");
  EXPECT_FALSE(tree->read(*tool, 3));
  // Nothing leads out, however the entry came about.
  EXPECT_FALSE(tree->open(*part->find("usr/bin/evil")));
  EXPECT_FALSE(tree->open({.path = "usr/bin/evil"}));
  EXPECT_FALSE(tree->open({.path = "bin/tool"}));
  EXPECT_FALSE(tree->open({.path = "../etc/passwd"}));
  const auto all = *tree->listing({});
  EXPECT_EQ(all->entries.size(), 8U);
  EXPECT_EQ(*tree->part("usr", {}), all);
}

TEST_F(WalkTest, OtherMountsAreEmptyDirectoriesOfATree) {
  const auto tree = mounted_tree(UniqueFd(::open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC)), "root", "");
  const auto part = tree->part("proc", {});
  ASSERT_TRUE(part) << part.error().text();
  EXPECT_EQ(names(**part), "proc");
}

}  // namespace
}  // namespace corten::context
