// What every snapshot driver must do. A driver joins by one line at the end of this file.
#include <sched.h>
#include <signal.h>
#include <sys/fsuid.h>
#include <sys/mount.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <sys/xattr.h>

#include <future>

#include "tests/contract/snapshots_fixture.h"

namespace corten::store {
namespace {

TEST_P(SnapshotsContract, LayersStackAndTakeAway) {
  const std::string base = layer("", base_tar());
  const std::string upper =
      layer(base, TarMaker().file("etc/passwd", "changed").file("data/.wh.one", "").file("data/.wh.two", "").done());
  const std::string top = layer(upper, TarMaker().dir("etc").file("etc/.wh..wh..opq", "").file("etc/new", "n").done());
  ASSERT_TRUE(snapshots_->prepare("c", upper));
  ASSERT_TRUE(snapshots_->prepare("d", top));
  const UniqueFd c = mounted("c"), d = mounted("d");
  EXPECT_EQ(slurp(c.get(), "etc/passwd"), "changed");
  EXPECT_EQ(slurp(c.get(), "etc/group"), "root");
  EXPECT_FALSE(exists(c.get(), "data/one"));
  EXPECT_TRUE(exists(c.get(), "data"));
  EXPECT_FALSE(exists(d.get(), "etc/passwd"));
  EXPECT_EQ(slurp(d.get(), "etc/new"), "n");
  struct stat status{};
  ASSERT_EQ(::fstatat(c.get(), "bin/sh", &status, 0), 0);
  EXPECT_EQ(status.st_mode & 07777, 04755U);
  ASSERT_EQ(::fstatat(c.get(), "tmp", &status, 0), 0);
  EXPECT_EQ(status.st_mode & 07777, 01777U);
}

TEST_P(SnapshotsContract, MountsAreNowhereInTheHostsTable) {
  ASSERT_TRUE(snapshots_->prepare("c", layer("", base_tar())));
  const UniqueFd mount = mounted("c");
  const UniqueFd proc(::open("/proc/self", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  EXPECT_THAT(slurp(proc.get(), "mountinfo"), testing::Not(testing::HasSubstr(root_.path())));
}

TEST_P(SnapshotsContract, WritesStayWithTheirKey) {
  const std::string base = layer("", base_tar());
  ASSERT_TRUE(snapshots_->prepare("a", base));
  ASSERT_TRUE(snapshots_->prepare("b", base));
  {
    const UniqueFd a = mounted("a"), b = mounted("b");
    ASSERT_TRUE(spill(a.get(), "data/one", "A"));
    EXPECT_EQ(slurp(b.get(), "data/one"), "1");
  }
  const UniqueFd again = mounted("a");
  EXPECT_EQ(slurp(again.get(), "data/one"), "A");
}

TEST_P(SnapshotsContract, ReadOnlyMountStandsBesideAWriter) {
  ASSERT_TRUE(snapshots_->prepare("c", layer("", base_tar())));
  const UniqueFd writer = mounted("c");
  ASSERT_TRUE(spill(writer.get(), "new", "x"));
  const UniqueFd reader = mounted("c", {.read_only = true});
  EXPECT_EQ(slurp(reader.get(), "new"), "x");
  EXPECT_EQ(slurp(reader.get(), "bin/sh"), "shell");
  EXPECT_FALSE(spill(reader.get(), "other", "x"));
  EXPECT_EQ(errno, EROFS);
}

TEST_P(SnapshotsContract, EphemeralMountsAgain) {
  ASSERT_TRUE(snapshots_->prepare("c", layer("", base_tar())));
  {
    ASSERT_TRUE(spill(mounted("c", {.ephemeral = true}).get(), "new", "x"));
  }
  {
    EXPECT_EQ(slurp(mounted("c", {.ephemeral = true}).get(), "new"), "x");
  }
  EXPECT_EQ(slurp(mounted("c").get(), "new"), "x");
}

TEST_P(SnapshotsContract, MountTargetsLieBelowTheImage) {
  const std::string linked =
      layer("", TarMaker().symlink("etc", "usr/etc").dir("usr/etc").file("usr/etc/hosts", "image").done());
  ASSERT_TRUE(snapshots_->prepare("empty", ""));
  ASSERT_TRUE(snapshots_->prepare("linked", linked));
  const UniqueFd empty = mounted("empty"), other = mounted("linked");
  for (const char* name :
       {"dev", "proc", "sys", "etc/hosts", "etc/hostname", "etc/resolv.conf", "etc/mtab", ".dockerenv"})
    EXPECT_TRUE(exists(empty.get(), name)) << name;
  EXPECT_EQ(slurp(other.get(), "etc/hosts"), "image");
  EXPECT_TRUE(exists(other.get(), "proc"));
  EXPECT_TRUE(changes("empty").empty());
  EXPECT_TRUE(changes("linked").empty());
}

TEST_P(SnapshotsContract, RootLooksLikeTheImages) {
  const std::string base = layer(
      "", TarMaker().add({.type = TarType::directory, .name = "./", .mode = 0710, .uid = 5, .gid = 6}).dir("a").done());
  const std::string upper = layer(base, TarMaker().dir("b").done());
  ASSERT_TRUE(snapshots_->prepare("c", upper));
  struct stat status{};
  ASSERT_EQ(::fstatat(mounted("c").get(), ".", &status, 0), 0);
  EXPECT_EQ(status.st_mode & 07777, 0710U);
  EXPECT_EQ(status.st_uid, 5U);
  EXPECT_EQ(status.st_gid, 6U);
}

TEST_P(SnapshotsContract, UnlistedParentsKeepTheirLooks) {
  const std::string base =
      layer("", TarMaker().add({.type = TarType::directory, .name = "home/", .mode = 0700, .uid = 7}).done());
  const std::string upper = layer(base, TarMaker().file("home/file", "x").done());
  ASSERT_TRUE(snapshots_->prepare("c", upper));
  struct stat status{};
  ASSERT_EQ(::fstatat(mounted("c").get(), "home", &status, 0), 0);
  EXPECT_EQ(status.st_mode & 07777, 0700U);
  EXPECT_EQ(status.st_uid, 7U);
}

TEST_P(SnapshotsContract, HardLinksIntoLowerLayersBecomeCopies) {
  const std::string base = layer("", base_tar());
  const std::string upper = layer(base, TarMaker().hard_link("bin/bash", "bin/sh").done());
  ASSERT_TRUE(snapshots_->prepare("c", upper));
  const UniqueFd c = mounted("c");
  EXPECT_EQ(slurp(c.get(), "bin/bash"), "shell");
  struct stat status{};
  ASSERT_EQ(::fstatat(c.get(), "bin/bash", &status, 0), 0);
  EXPECT_EQ(status.st_mode & 07777, 04755U);
}

// What a layer takes away is not there for those above it, wherever on the way it was taken.
TEST_P(SnapshotsContract, WhatWasTakenAwayIsNotFoundBelow) {
  const std::string lower =
      layer("", TarMaker().dir("a").file("a/b", "secret").dir("a/d", 0700).file("a/d/e", "x").done());
  const std::string middles[] = {TarMaker().file(".wh.a", "").done(), TarMaker().file("a/.wh..wh..opq", "").done(),
                                 TarMaker().dir("a").file("a/.wh.b", "").file("a/.wh.d", "").done(),
                                 TarMaker().file("a", "no directory").done(),
                                 TarMaker().symlink("a", "elsewhere").done()};
  for (const std::string& tar : middles) {
    const std::string middle = layer(lower, tar);
    for (const char* target : {"a/b", "a/d/e"}) {
      StringSource link(TarMaker().hard_link("stolen", target).done());
      const auto refused = snapshots_->apply_layer("sha256:refused", middle, link);
      ASSERT_FALSE(refused) << target;
      EXPECT_THAT(refused.error().text(), testing::HasSubstr("hard link to")) << refused.error().text();
    }
    // Nor does a directory take its looks from there.
    const std::string top = layer(middle, TarMaker().file("a/d/new", "new").done());
    ASSERT_TRUE(snapshots_->prepare(top, top));
    const UniqueFd c = mounted(top);
    struct stat status{};
    ASSERT_EQ(::fstatat(c.get(), "a/d", &status, 0), 0);
    EXPECT_EQ(status.st_mode & 07777, 0755U);
    EXPECT_EQ(slurp(c.get(), "a/d/new"), "new");
    EXPECT_FALSE(exists(c.get(), "a/b"));
  }
}

TEST_P(SnapshotsContract, WhiteoutAndNewEntryInOneLayer) {
  const std::string base = layer("", base_tar());
  const std::string upper = layer(base, TarMaker()
                                            .file(".wh.data", "")
                                            .dir("data")
                                            .file("data/three", "3")
                                            .file("bin/.wh.sh", "")
                                            .file("bin/sh", "new")
                                            .done());
  const std::string other = layer(base, TarMaker().dir("data").file("data/three", "3").file(".wh.data", "").done());
  for (const std::string& chain : {upper, other}) {
    ASSERT_TRUE(snapshots_->prepare(chain, chain));
    const UniqueFd c = mounted(chain);
    EXPECT_EQ(slurp(c.get(), "data/three"), "3");
    EXPECT_FALSE(exists(c.get(), "data/one"));
  }
  ASSERT_TRUE(snapshots_->prepare("c", upper));
  EXPECT_EQ(slurp(mounted("c").get(), "bin/sh"), "new");
}

// It would be another file system wherever the layer is unpacked.
TEST_P(SnapshotsContract, NamesOfWhiteoutsAreNoFilesOfALayer) {
  const std::string base = layer("", base_tar());
  for (const std::string name : {".wh.data", ".wh..wh..opq", "etc/.wh.passwd"}) {
    ASSERT_TRUE(snapshots_->prepare("c", base));
    ASSERT_TRUE(spill(mounted("c").get(), name, ""));
    StringSink tar;
    const auto written = snapshots_->write_diff("c", tar);
    ASSERT_FALSE(written) << name;
    EXPECT_EQ(written.error().kind(), ErrorKind::invalid);
    EXPECT_THAT(written.error().text(), testing::HasSubstr("cannot be kept in a layer"));
    ASSERT_TRUE(snapshots_->remove("c"));
  }
}

TEST_P(SnapshotsContract, ChangesAreDockers) {
  ASSERT_TRUE(snapshots_->prepare("c", layer("", base_tar())));
  {
    const UniqueFd c = mounted("c");
    EXPECT_TRUE(changes("c").empty());
    ASSERT_TRUE(spill(c.get(), "data/one", "more"));
    ASSERT_EQ(::unlinkat(c.get(), "data/two", 0), 0);
    ASSERT_EQ(::mkdirat(c.get(), "new", 0755), 0);
    ASSERT_TRUE(spill(c.get(), "new/file", "x"));
    ASSERT_EQ(::fchmodat(c.get(), "bin/sh", 0700, 0), 0);
    // Opened for writing and left alone: copied up, but not changed.
    const UniqueFd touched(::openat(c.get(), "etc/group", O_WRONLY | O_CLOEXEC));
    ASSERT_TRUE(touched);
  }
  EXPECT_THAT(changes("c"), testing::ElementsAre("C /bin", "C /bin/sh", "C /data", "C /data/one", "D /data/two",
                                                 "A /new", "A /new/file"));
}

TEST_P(SnapshotsContract, ReplacedDirectoryIsComparedNotListed) {
  ASSERT_TRUE(snapshots_->prepare("c", layer("", base_tar())));
  {
    const UniqueFd c = mounted("c");
    for (const char* name : {"data/one", "data/two", "etc/passwd", "etc/group"})
      ASSERT_EQ(::unlinkat(c.get(), name, 0), 0);
    ASSERT_EQ(::unlinkat(c.get(), "data", AT_REMOVEDIR), 0);
    ASSERT_EQ(::mkdirat(c.get(), "data", 0755), 0);
    ASSERT_TRUE(spill(c.get(), "data/three", "3"));
    // The init layer has files in etc, so it can only be emptied by name; replace it by a file.
    ASSERT_EQ(::renameat(c.get(), "bin/sh", c.get(), "sh"), 0);
    ASSERT_EQ(::unlinkat(c.get(), "bin", AT_REMOVEDIR), 0);
    ASSERT_TRUE(spill(c.get(), "bin", "file"));
  }
  EXPECT_THAT(changes("c"), testing::ElementsAre("C /bin", "C /data", "D /data/one", "A /data/three", "D /data/two",
                                                 "C /etc", "D /etc/group", "D /etc/passwd", "A /sh"));
}

TEST_P(SnapshotsContract, DiffAppliedIsTheSameFileSystem) {
  const std::string base = layer("", base_tar());
  ASSERT_TRUE(snapshots_->prepare("c", base));
  {
    const UniqueFd c = mounted("c");
    ASSERT_EQ(::unlinkat(c.get(), "data/one", 0), 0);
    for (const char* name : {"etc/passwd", "etc/group", "etc/hosts", "etc/hostname", "etc/resolv.conf", "etc/mtab"})
      ASSERT_EQ(::unlinkat(c.get(), name, 0), 0) << name;
    ASSERT_EQ(::unlinkat(c.get(), "etc", AT_REMOVEDIR), 0);
    ASSERT_EQ(::mkdirat(c.get(), "etc", 0711), 0);
    ASSERT_TRUE(spill(c.get(), "etc/only", "o"));
    ASSERT_TRUE(spill(c.get(), "linked", "l"));
    ASSERT_EQ(::linkat(c.get(), "linked", c.get(), "zlinked", 0), 0);
    ASSERT_EQ(::symlinkat("/etc/only", c.get(), "sym"), 0);
    ASSERT_EQ(::mknodat(c.get(), "null", S_IFCHR | 0666, makedev(1, 3)), 0);
    ASSERT_EQ(::mkfifoat(c.get(), "fifo", 0600), 0);
    const std::string long_name(200, 'n');
    ASSERT_TRUE(spill(c.get(), long_name, "long"));
    ASSERT_EQ(::fchownat(c.get(), "linked", 3'000'000, 7, 0), 0);
    const UniqueFd file(::openat(c.get(), long_name.c_str(), O_RDONLY | O_CLOEXEC));
    const timespec times[] = {{5, 6}, {1'700'000'000, 987'654'321}};
    ASSERT_EQ(::futimens(file.get(), times), 0);
    ASSERT_EQ(::fsetxattr(file.get(), "user.note", "v", 1, 0), 0);
  }
  StringSink first, second;
  ASSERT_TRUE(snapshots_->write_diff("c", first));
  ASSERT_TRUE(snapshots_->write_diff("c", second));
  EXPECT_EQ(oci::Digest::of(first.text), oci::Digest::of(second.text));
  ASSERT_TRUE(snapshots_->prepare("copy", layer(base, first.text)));
  const UniqueFd copy = mounted("copy");
  EXPECT_FALSE(exists(copy.get(), "data/one"));
  EXPECT_FALSE(exists(copy.get(), "etc/passwd"));
  EXPECT_EQ(slurp(copy.get(), "etc/only"), "o");
  struct stat a{}, b{};
  ASSERT_EQ(::fstatat(copy.get(), "linked", &a, 0), 0);
  ASSERT_EQ(::fstatat(copy.get(), "zlinked", &b, 0), 0);
  EXPECT_EQ(a.st_ino, b.st_ino);
  EXPECT_EQ(a.st_uid, 3'000'000U);
  ASSERT_EQ(::fstatat(copy.get(), std::string(200, 'n').c_str(), &a, 0), 0);
  EXPECT_EQ(a.st_mtim.tv_nsec, 987'654'321);
  const UniqueFd file(::openat(copy.get(), std::string(200, 'n').c_str(), O_RDONLY | O_CLOEXEC));
  char value = 0;
  EXPECT_EQ(::fgetxattr(file.get(), "user.note", &value, 1), 1);
  ASSERT_EQ(::fstatat(copy.get(), "null", &a, 0), 0);
  EXPECT_EQ(a.st_rdev, makedev(1, 3));
  EXPECT_TRUE(changes("copy").empty());
}

TEST_P(SnapshotsContract, WhatIsStoodOnStays) {
  const std::string base = layer("", base_tar());
  const std::string upper = layer(base, TarMaker().file("x", "x").done());
  ASSERT_TRUE(snapshots_->prepare("c", upper));
  for (const std::string& id : {base, upper}) {
    auto removed = snapshots_->remove_layer(id);
    ASSERT_FALSE(removed);
    EXPECT_EQ(removed.error().kind(), ErrorKind::conflict);
  }
  ASSERT_TRUE(snapshots_->remove("c"));
  EXPECT_TRUE(snapshots_->remove_layer(upper));
  EXPECT_TRUE(snapshots_->remove_layer(base));
  EXPECT_TRUE(snapshots_->layers().empty());
}

TEST_P(SnapshotsContract, NamesAreChecked) {
  const std::string base = layer("", base_tar());
  ASSERT_TRUE(snapshots_->prepare("c", base));
  EXPECT_EQ(snapshots_->prepare("c", base).error().kind(), ErrorKind::conflict);
  EXPECT_EQ(snapshots_->prepare("d", "sha256:none").error().kind(), ErrorKind::not_found);
  EXPECT_EQ(snapshots_->mount("none", {}).error().kind(), ErrorKind::not_found);
  EXPECT_EQ(snapshots_->remove("none").error().kind(), ErrorKind::not_found);
  EXPECT_EQ(snapshots_->remove_layer("none").error().kind(), ErrorKind::not_found);
  StringSource tar(base_tar());
  EXPECT_EQ(snapshots_->apply_layer("x", "none", tar).error().kind(), ErrorKind::not_found);
  EXPECT_FALSE(snapshots_->has("d"));
}

TEST_P(SnapshotsContract, AFailedLayerLeavesNothing) {
  const std::string base = layer("", base_tar());
  std::string tar = TarMaker().dir("big").file("big/file", std::string(100'000, 'x')).done();
  tar.resize(tar.size() / 2);
  StringSource source(tar);
  auto applied = snapshots_->apply_layer("sha256:torn", base, source);
  ASSERT_FALSE(applied);
  EXPECT_EQ(applied.error().kind(), ErrorKind::invalid);
  EXPECT_FALSE(snapshots_->has_layer("sha256:torn"));
  const std::string directory = root_.path() + "/snapshots";
  EXPECT_TRUE(eventually([&] {
    return std::distance(std::filesystem::directory_iterator(directory), std::filesystem::directory_iterator()) <= 2;
  })) << "init and one layer";
  ASSERT_TRUE(snapshots_->remove_layer(base)) << "the parent is not held by what failed";
}

// The layer below is made while the one above is staged.
TEST_P(SnapshotsContract, AParentMayBeOnItsWay) {
  const std::string lower = base_tar();
  const std::string upper = TarMaker().dir("top").file("data/three", "3").hard_link("bin/bash", "bin/sh").done();
  const std::string base = oci::chain_id("", oci::Digest::of(lower).text()),
                    top = oci::chain_id(base, oci::Digest::of(upper).text());
  std::promise<std::string> promised;
  std::promise<void> asked;
  int calls = 0;
  std::thread below([&] {
    asked.get_future().wait();
    EXPECT_EQ(layer("", lower), base);
    promised.set_value(base);
  });
  StringSource source(upper);
  const ParentLayer parent = [&]() -> Result<std::string> {
    if (++calls == 1) asked.set_value();
    return promised.get_future().get();
  };
  auto staged = snapshots_->stage_layer(parent, source, {});
  below.join();
  ASSERT_TRUE(staged) << staged.error().text();
  EXPECT_EQ(calls, 1);
  const auto info = (*staged)->commit(top);
  ASSERT_TRUE(info) << info.error().text();
  EXPECT_EQ(info->parent, base);
  ASSERT_TRUE(snapshots_->prepare("c", top));
  const UniqueFd c = mounted("c");
  EXPECT_EQ(slurp(c.get(), "bin/bash") + slurp(c.get(), "data/one") + slurp(c.get(), "data/three"), "shell13");
}

// Nothing of it is needed before the end, but it is the layer's parent, and asked for once.
TEST_P(SnapshotsContract, AParentIsAskedForAtTheEndAtTheLatest) {
  const std::string base = layer("", base_tar());
  for (const bool top_listed : {true, false}) {
    TarMaker maker;
    if (top_listed) maker.dir("./", 0711);
    const std::string tar = maker.dir("a").file("a/b", "x").done();
    StringSource source(tar);
    int calls = 0;
    std::optional<std::string> seen_parent;  // by those who ask for the name only
    const auto chain_id = [&](const std::string& below) -> Result<std::string> {
      seen_parent = below;
      std::byte byte{};
      EXPECT_EQ(source.read(std::span(&byte, 1)).value_or(1), 0U) << "all has been read";
      return std::string("sha256:late");
    };
    auto staged = snapshots_->stage_layer(
        [&]() -> Result<std::string> {
          ++calls;
          return base;
        },
        source, {.need_end_marker = true, .chain_id = chain_id});
    ASSERT_TRUE(staged) << staged.error().text();
    EXPECT_EQ(calls, 1);
    EXPECT_EQ(seen_parent.value_or(base), base);
    const std::string chain = top_listed ? "sha256:listed" : "sha256:unlisted";
    ASSERT_TRUE((*staged)->commit(chain));
    ASSERT_TRUE(snapshots_->prepare(chain, chain));
    struct stat status{};
    ASSERT_EQ(::fstatat(mounted(chain).get(), ".", &status, 0), 0);
    EXPECT_EQ(status.st_mode & 07777, top_listed ? 0711U : 0755U);
  }
}

TEST_P(SnapshotsContract, AParentThatFailsFailsTheLayerAndLeavesNothing) {
  const std::string tars[] = {TarMaker().dir("a").done(), TarMaker().file("needs/parent", "x").done(),
                              TarMaker().hard_link("a", "below").done(), TarMaker().dir("./").done(), ""};
  for (const std::string& tar : tars) {
    StringSource source(tar);
    const auto staged = snapshots_->stage_layer(
        []() -> Result<std::string> { return fail(ErrorKind::unavailable, "the layer below got lost"); }, source, {});
    ASSERT_FALSE(staged);
    EXPECT_EQ(staged.error().kind(), ErrorKind::unavailable);
    EXPECT_THAT(staged.error().text(), testing::HasSubstr("the layer below got lost"));
  }
  {
    StringSource source(TarMaker().dir("a").done());
    const auto staged =
        snapshots_->stage_layer([]() -> Result<std::string> { return std::string("sha256:none"); }, source, {});
    ASSERT_FALSE(staged);
    EXPECT_EQ(staged.error().kind(), ErrorKind::not_found);
  }
  const std::string directory = root_.path() + "/snapshots";
  EXPECT_TRUE(eventually([&] { return list_names(root_.open("snapshots").get())->size() == 1; })) << "init";
}

TEST_P(SnapshotsContract, ReopensAsItWas) {
  const std::string base = layer("", base_tar());
  ASSERT_TRUE(snapshots_->prepare("c", base));
  {
    ASSERT_TRUE(spill(mounted("c").get(), "kept", "k"));
  }
  ASSERT_TRUE(snapshots_->prepare("gone", base));
  ASSERT_TRUE(snapshots_->remove("gone"));
  std::filesystem::create_directories(root_.path() + "/snapshots/4711/fs");  // left by a crash
  open();
  EXPECT_EQ(slurp(mounted("c").get(), "kept"), "k");
  EXPECT_FALSE(snapshots_->has("gone"));
  EXPECT_EQ(snapshots_->layer(base)->inodes, 9U);
  EXPECT_EQ(snapshots_->active().size(), 1U);
  EXPECT_TRUE(eventually([&] { return !std::filesystem::exists(root_.path() + "/snapshots/4711"); }));
  ASSERT_TRUE(snapshots_->prepare("next", base));
}

TEST_P(SnapshotsContract, SuspectLayersAreRebuilt) {
  const std::string base = layer("", base_tar());
  const std::string synced = layer(base, TarMaker().file("x", "x").done());
  ASSERT_TRUE(snapshots_->sync());
  const std::string fresh = layer(synced, TarMaker().file("y", "y").done());
  ASSERT_TRUE(snapshots_->prepare("c", fresh));
  ASSERT_TRUE(database_->commit({{"UPDATE layers SET boot = 'another' WHERE boot <> ''"}}));
  open();
  ASSERT_THAT(snapshots_->suspect_layers(), testing::ElementsAre(fresh));
  StringSource tar(TarMaker().file("y", "y").done());
  ASSERT_TRUE(snapshots_->rebuild_layer(fresh, &tar));
  EXPECT_TRUE(snapshots_->suspect_layers().empty());
  EXPECT_EQ(slurp(mounted("c").get(), "y"), "y");
}

TEST_P(SnapshotsContract, UsageCountsTheWritableLayer) {
  ASSERT_TRUE(snapshots_->prepare("c", layer("", base_tar())));
  const std::uint64_t before = snapshots_->usage("c")->bytes;
  {
    ASSERT_TRUE(spill(mounted("c").get(), "big", std::string(1U << 20, 'x')));
  }
  ::sync();
  EXPECT_GE(snapshots_->usage("c")->bytes, before + (1U << 20));
  EXPECT_EQ(snapshots_->usage("c")->inodes, 1U);
}

// A user namespace in which 0 is 100000 outside.
UniqueFd mapped_namespace() {
  int ready[2];
  if (::pipe2(ready, O_CLOEXEC) != 0) return {};
  const pid_t child = ::fork();
  if (child == 0) {
    const char answer = ::unshare(CLONE_NEWUSER) == 0 ? 'y' : 'n';
    static_cast<void>(!::write(ready[1], &answer, 1));
    for (;;) ::pause();
  }
  char answer = 0;
  UniqueFd out;
  const UniqueFd in(ready[0]), write_end(ready[1]);
  const std::string proc = "/proc/" + std::to_string(child);
  if (::read(in.get(), &answer, 1) == 1 && answer == 'y' && spill(AT_FDCWD, proc + "/uid_map", "0 100000 65536") &&
      spill(AT_FDCWD, proc + "/gid_map", "0 100000 65536"))
    out = UniqueFd(::open((proc + "/ns/user").c_str(), O_RDONLY | O_CLOEXEC));
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  return out;
}

TEST_P(SnapshotsContract, OwnersAreMapped) {
  if (!GetParam().maps_owners) GTEST_SKIP() << "this driver does not map owners";
  const UniqueFd user = mapped_namespace();
  if (!user) GTEST_SKIP() << "no user namespaces here";
  ASSERT_TRUE(snapshots_->prepare("c", layer("", base_tar())));
  const UniqueFd c = mounted("c", {.userns_fd = user.get()});
  struct stat status{};
  ASSERT_EQ(::fstatat(c.get(), "bin/sh", &status, 0), 0);
  EXPECT_EQ(status.st_uid, 100'000U);
  ASSERT_EQ(::fstatat(c.get(), ".", &status, 0), 0);
  EXPECT_EQ(status.st_uid, 100'000U);
  // What the container's root writes is root's on the disk.
  ASSERT_EQ(::fchownat(c.get(), "data/one", 100'007, 100'007, 0), 0) << errno;
  std::thread([&] {
    ::setfsgid(100'000);
    ::setfsuid(100'000);
    EXPECT_TRUE(spill(c.get(), "data/of-root", "x")) << errno;
  }).join();
  ASSERT_EQ(::fstatat(c.get(), "data/of-root", &status, 0), 0);
  EXPECT_EQ(status.st_uid, 100'000U);
  const auto diff = changes("c");
  EXPECT_THAT(diff, testing::ElementsAre("C /data", "A /data/of-root", "C /data/one"));
  StringSink tar;
  ASSERT_TRUE(snapshots_->write_diff("c", tar));
  StringSource source(tar.text);
  TarReader reader(source);
  TarEntry entry;
  std::map<std::string, std::uint32_t> owners;
  while (*reader.next(entry)) owners[entry.name] = entry.uid;
  EXPECT_EQ(owners["data/one"], 7U);
  EXPECT_EQ(owners["data/of-root"], 0U);
}

TEST_P(SnapshotsContract, ManyLayers) {
  std::string chain;
  for (std::size_t i = 0; i < max_layers; ++i)
    chain = layer(chain, TarMaker().file("f" + std::to_string(i), "x").done());
  ASSERT_TRUE(snapshots_->prepare("c", chain));
  const UniqueFd c = mounted("c");
  EXPECT_EQ(slurp(c.get(), "f0"), "x");
  EXPECT_EQ(slurp(c.get(), "f" + std::to_string(max_layers - 1)), "x");
  auto view = snapshots_->mount_layer(chain);
  ASSERT_TRUE(view) << view.error().text();
  EXPECT_EQ(slurp(view->get(), "f7"), "x");
  StringSource tar(TarMaker().file("one-more", "x").done());
  const auto refused = snapshots_->apply_layer("sha256:" + std::string(64, 'e'), chain, tar);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().text(), testing::HasSubstr("max depth exceeded"));
}

TEST_P(SnapshotsContract, ConcurrentUse) {
  const std::string tar = base_tar();
  const std::string base = layer("", tar);
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&, i] {
      for (int j = 0; j < 10; ++j) {
        const std::string key = std::to_string(i) + "-" + std::to_string(j);
        ASSERT_TRUE(snapshots_->prepare(key, base));
        {
          ASSERT_TRUE(spill(mounted(key).get(), "x", key));
        }
        StringSource source(TarMaker().file("same", std::to_string(j)).done());
        ASSERT_TRUE(snapshots_->apply_layer("sha256:" + std::to_string(j), base, source));
        ASSERT_TRUE(snapshots_->remove(key));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(snapshots_->layers().size(), 11U);
  EXPECT_TRUE(snapshots_->active().empty());
}

Driver overlay(const char* name, const OverlayOptions& options) {
  return {name,
          [options](const std::string& directory, Database& database) {
            return open_overlay_snapshots(directory, database, options);
          },
          true};
}

// As kernels from 5.10 on need it; the last ones make an overlay of their own of whatever can be one.
const Driver drivers[] = {
    overlay("overlay", {.layers = LayerForm::directory}),
    overlay("overlay_legacy", {.layers = LayerForm::directory, .legacy_mount = true}),
    overlay("overlay_grouped", {.layers = LayerForm::directory, .stack_limit = 2}),
    overlay("images", {.layers = LayerForm::image}),
    overlay("images_compressed", {.layers = LayerForm::image, .compress_images = true}),
    overlay("images_attached", {.layers = LayerForm::image, .attached_layers = true}),
    overlay("images_on_loop_devices", {.layers = LayerForm::image, .loop_devices = true}),
    overlay("images_on_attached_loop_devices",
            {.layers = LayerForm::image, .attached_layers = true, .loop_devices = true}),
    overlay("images_legacy", {.layers = LayerForm::image, .legacy_mount = true, .loop_devices = true}),
    overlay("images_grouped", {.layers = LayerForm::image, .stack_limit = 2}),
    overlay("images_legacy_grouped",
            {.layers = LayerForm::image, .legacy_mount = true, .loop_devices = true, .stack_limit = 2}),
};
INSTANTIATE_TEST_SUITE_P(Drivers, SnapshotsContract, testing::ValuesIn(drivers),
                         [](const auto& driver) { return driver.param.name; });

}  // namespace
}  // namespace corten::store
