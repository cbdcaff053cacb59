// Archives from people who mean harm, and from people who do not.
#include <pthread.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <sys/xattr.h>

#include "store/archive.h"
#include "store/overlay_changes.h"
#include "store/store_fixture.h"

namespace corten::store {
namespace {

class Extract : public testing::Test {
 public:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "owners need root";
    ASSERT_EQ(::mkdir((scratch_.path() + "/root").c_str(), 0755), 0);
    ASSERT_EQ(::mkdir((scratch_.path() + "/outside").c_str(), 0755), 0);
    outside_ = scratch_.open("outside");
    root_ = scratch_.open("root");
    ASSERT_TRUE(spill(outside_.get(), "secret", "secret"));
  }
  Result<ExtractStats> run(const std::string& tar, const ExtractOptions& options = {}, const std::string& path = "/") {
    StringSource source(tar);
    return extract(source, root_.get(), path, options);
  }
  void expect_outside_untouched() {
    EXPECT_EQ(slurp(outside_.get(), "secret"), "secret");
    EXPECT_EQ(std::distance(std::filesystem::directory_iterator(scratch_.path() + "/outside"), {}), 1);
    EXPECT_EQ(std::distance(std::filesystem::directory_iterator(scratch_.path()), {}), 2);
    EXPECT_FALSE(std::filesystem::exists("/tmp/corten-evil"));
  }
  std::string out_path() const { return scratch_.path() + "/outside"; }

  TempTree scratch_;
  UniqueFd outside_, root_;
};

TEST_F(Extract, KeepsWhatTheArchiveSays) {
  TarEntry entry{.type = TarType::file, .name = "f", .mode = 06711, .uid = 12, .gid = 34, .mtime = {1'600'000'000, 5}};
  entry.xattrs["user.k"] = "v";
  ASSERT_TRUE(run(TarMaker()
                      .dir("d", 0700)
                      .add(entry, "text")
                      .add({.type = TarType::block, .name = "d/b", .mode = 0640, .uid = 1, .major = 7, .minor = 9})
                      .add({.type = TarType::fifo, .name = "d/p", .mode = 0622})
                      .hard_link("d/h", "f")
                      .symlink("d/s", "/etc/passwd")
                      .done()));
  struct stat status{};
  ASSERT_EQ(::fstatat(root_.get(), "f", &status, 0), 0);
  EXPECT_EQ(status.st_mode, S_IFREG | 06711U);
  EXPECT_EQ(status.st_uid, 12U);
  EXPECT_EQ(status.st_gid, 34U);
  EXPECT_EQ(status.st_mtim.tv_nsec, 5);
  EXPECT_EQ(status.st_nlink, 2U);
  ASSERT_EQ(::fstatat(root_.get(), "d", &status, 0), 0);
  EXPECT_EQ(status.st_mtim.tv_sec, 1'600'000'000) << "written into afterwards";
  EXPECT_EQ(status.st_mode & 07777, 0700U);
  ASSERT_EQ(::fstatat(root_.get(), "d/b", &status, 0), 0);
  EXPECT_EQ(status.st_rdev, makedev(7, 9));
  EXPECT_EQ(status.st_mode, S_IFBLK | 0640U);
  ASSERT_EQ(::fstatat(root_.get(), "d/p", &status, 0), 0);
  EXPECT_EQ(status.st_mode, S_IFIFO | 0622U);
  char value = 0;
  EXPECT_EQ(::getxattr((scratch_.path() + "/root/f").c_str(), "user.k", &value, 1), 1);
}

TEST_F(Extract, NamesStayInside) {
  const auto done =
      run(TarMaker().file("/abs", "1").file("../up", "2").file("a/../../b/./c", "3").file("////x//y", "4").done());
  ASSERT_TRUE(done) << done.error().text();
  EXPECT_EQ(slurp(root_.get(), "abs"), "1");
  EXPECT_EQ(slurp(root_.get(), "up"), "2");
  EXPECT_EQ(slurp(root_.get(), "b/c"), "3");
  EXPECT_EQ(slurp(root_.get(), "x/y"), "4");
  expect_outside_untouched();
  ASSERT_EQ(::mkdirat(root_.get(), "dest", 0755), 0);
  const auto out = run(TarMaker().file("../up", "2").done(), {}, "/dest");
  ASSERT_FALSE(out);
  EXPECT_EQ(out.error().kind(), ErrorKind::invalid);
}

TEST_F(Extract, LinksLeadNowhereOutside) {
  for (const std::string& target :
       {out_path(), std::string("../outside"), std::string("../../../../../../.."), std::string("/")}) {
    static_cast<void>(
        run(TarMaker().symlink("link", target).file("link/secret", "changed").file("link/new", "n").done()));
    static_cast<void>(run(TarMaker().symlink("link", target).dir("link").file("link/secret", "changed").done()));
    static_cast<void>(run(TarMaker().symlink("link", target + "/secret").file("link", "changed").done()));
    static_cast<void>(
        run(TarMaker().symlink("link", target + "/secret").hard_link("hard", "link").file("hard", "changed").done()));
    static_cast<void>(
        run(TarMaker()
                .symlink("link", target)
                .add({.type = TarType::character, .name = "link/null", .mode = 0777, .major = 1, .minor = 3})
                .done()));
    static_cast<void>(run(TarMaker().symlink("a", target).symlink("a/b", "x").hard_link("a/c", "a/secret").done()));
    expect_outside_untouched();
  }
  EXPECT_FALSE(run(TarMaker().hard_link("h", out_path() + "/secret").done()));
  EXPECT_FALSE(run(TarMaker().hard_link("h", "../outside/secret").done()));
  expect_outside_untouched();
}

TEST_F(Extract, LinksInsideAreFollowedInside) {
  ASSERT_TRUE(run(TarMaker().dir("usr").dir("usr/lib").symlink("lib", "/usr/lib").file("lib/so", "x").done()));
  EXPECT_EQ(slurp(root_.get(), "usr/lib/so"), "x");
}

TEST_F(Extract, TheRootCannotBeReplaced) {
  for (const TarType type : {TarType::file, TarType::symlink, TarType::hard_link, TarType::fifo}) {
    const auto done = run(TarMaker().add({.type = type, .name = ".", .link = out_path(), .mode = 0777}).done());
    ASSERT_FALSE(done);
    EXPECT_EQ(done.error().kind(), ErrorKind::invalid);
  }
  EXPECT_FALSE(run(TarMaker().file("a/..", "x").done()));
}

TEST_F(Extract, LaterEntriesReplaceEarlierOnes) {
  const auto done = run(TarMaker()
                            .dir("d")
                            .file("d/x", "1")
                            .file("d/x", "2")
                            .file("d", "file now")
                            .dir("d")
                            .file("d/y", "3")
                            .symlink("d/y", "nowhere")
                            .file("d/y", "4")
                            .hard_link("d/z", "d/y")
                            .hard_link("d/z", "d/y")
                            .hard_link("d/y", "d/y")
                            .done());
  ASSERT_TRUE(done) << done.error().text();
  EXPECT_EQ(slurp(root_.get(), "d/y"), "4");
  EXPECT_FALSE(exists(root_.get(), "d/x"));
}

TEST_F(Extract, AReplacedLinkIsNotFollowedAnyMore) {
  const auto done =
      run(TarMaker().dir("old").symlink("way", "old").file("way/x", "1").dir("way").file("way/y", "2").done());
  ASSERT_TRUE(done) << done.error().text();
  EXPECT_EQ(slurp(root_.get(), "old/x"), "1");
  EXPECT_FALSE(exists(root_.get(), "old/y"));
  EXPECT_EQ(slurp(root_.get(), "way/y"), "2");
}

// Set-id bits and file capabilities survive the change of owner.
TEST_F(Extract, CapabilitiesAreKept) {
  TarEntry entry{.type = TarType::file, .name = "ping", .mode = 04755, .uid = 12, .gid = 34};
  // Version 2, cap_net_raw permitted and effective.
  entry.xattrs["security.capability"] = std::string("\1\0\0\2\0\40\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 20);
  ASSERT_TRUE(run(TarMaker().add(entry, "x").done(), {.layer = true}));
  const UniqueFd fd(::openat(root_.get(), "ping", O_RDONLY | O_CLOEXEC));
  const auto kept = kept_xattrs(fd.get());
  ASSERT_TRUE(kept);
  EXPECT_EQ(kept->at("security.capability"), entry.xattrs["security.capability"]);
  struct stat status{};
  ASSERT_EQ(::fstat(fd.get(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 04755U);
  StringSink packed;
  ASSERT_TRUE(pack(root_.get(), "/ping", packed));
  EXPECT_NE(packed.text.find("SCHILY.xattr.security.capability"), std::string::npos);
}

TEST_F(Extract, CpRefusesToTradeDirectoriesForFiles) {
  ASSERT_TRUE(run(TarMaker().dir("d").file("f", "x").done()));
  const ExtractOptions options{.no_overwrite_dir_non_dir = true};
  EXPECT_THAT(run(TarMaker().file("d", "x").done(), options).error().text(),
              testing::HasSubstr("cannot overwrite directory"));
  EXPECT_THAT(run(TarMaker().dir("f").done(), options).error().text(),
              testing::HasSubstr("cannot overwrite non-directory"));
  EXPECT_TRUE(run(TarMaker().dir("d").file("f", "y").done(), options));
}

TEST_F(Extract, LimitsHold) {
  ExtractOptions few{};
  few.limits.entries = 3;
  EXPECT_THAT(run(TarMaker().dir("a").dir("b").dir("c").dir("d").done(), few).error().text(),
              testing::HasSubstr("more than 3 entries"));
  ExtractOptions small{};
  small.limits.bytes = 100;
  EXPECT_THAT(
      run(TarMaker().file("a", std::string(60, 'a')).file("b", std::string(60, 'b')).done(), small).error().text(),
      testing::HasSubstr("more than 100 bytes"));
  EXPECT_THAT(run(TarMaker().file(std::string(300, 'x'), "").done()).error().text(),
              testing::HasSubstr("longer than 255"));
  std::string deep;
  for (int i = 0; i < 300; ++i) deep += "d/";
  EXPECT_THAT(run(TarMaker().file(deep + "f", "").done()).error().text(), testing::HasSubstr("levels"));
  EXPECT_THAT(run(TarMaker().file(std::string(5000, '/') + "f", "").done()).error().text(),
              testing::HasSubstr("longer than"));
  EXPECT_FALSE(run(TarMaker().add({.type = TarType::character, .name = "c", .major = 1, .minor = 3}).done(),
                   {.devices = false}));
}

TEST_F(Extract, ABombEndsAtItsLimit) {
  StringSink packed;
  {
    auto gzip = compress(packed, Compression::gzip);
    TarWriter tar(**gzip);
    const std::string zeros(1U << 20, '\0');
    ASSERT_TRUE(tar.header({.type = TarType::file, .name = "bomb", .mode = 0644, .size = 4096ULL << 20}));
    for (int i = 0; i < 64; ++i) ASSERT_TRUE(tar.data(std::as_bytes(std::span(zeros))));
    ASSERT_TRUE((*gzip)->finish());
  }
  ExtractOptions options{};
  options.limits.bytes = 1ULL << 30;
  const auto done = run(packed.text, options);
  ASSERT_FALSE(done);
  EXPECT_THAT(done.error().text(), testing::HasSubstr("bytes of content"));
  EXPECT_FALSE(exists(root_.get(), "bomb"));
}

// Any number of extended headers may come before an entry; together they are bounded.
TEST_F(Extract, ExtendedHeadersDoNotAddUp) {
  StringSink sink;
  std::string tar;
  for (int i = 0; i < 3; ++i) {
    TarEntry entry{.type = TarType::file, .name = "f", .mode = 0644};
    entry.xattrs["user.k" + std::to_string(i)] = std::string(500'000, 'v');
    const std::string one = TarMaker().add(entry).cut();
    tar += one.substr(0, one.size() - 512);  // without the entry's own header
  }
  tar += TarMaker().file("f", "").done();
  const auto done = run(tar);
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().kind(), ErrorKind::invalid);
  EXPECT_THAT(done.error().text(), testing::HasSubstr("extended headers are larger"));
}

// Each copy of a lower file costs the disk what the file has, though the archive has only a link.
TEST_F(Extract, CopiesOfLowerFilesCount) {
  ASSERT_TRUE(spill(outside_.get(), "secret", std::string(1000, 's')));
  ExtractOptions options{.layer = true};
  options.limits.bytes = 2500;
  options.below = [&](const std::string&) {
    return UniqueFd(::openat(outside_.get(), "secret", O_PATH | O_NOFOLLOW | O_CLOEXEC));
  };
  EXPECT_TRUE(run(TarMaker().hard_link("a", "lower").hard_link("b", "lower").done(), options));
  const auto done =
      run(TarMaker().hard_link("c", "lower").hard_link("d", "lower").hard_link("e", "lower").done(), options);
  ASSERT_FALSE(done);
  EXPECT_THAT(done.error().text(), testing::HasSubstr("bytes of content"));
}

// A container can nest directories deeper than a server's thread has stack for.
TEST_F(Extract, WalksNeedNoStack) {
  UniqueFd at(::openat(root_.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  for (int i = 0; i < 850; ++i) {
    ASSERT_EQ(::mkdirat(at.get(), "d", 0755), 0);
    at = UniqueFd(::openat(at.get(), "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  }
  ASSERT_TRUE(spill(at.get(), "end", "x"));
  pthread_attr_t attributes;
  ::pthread_attr_init(&attributes);
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  ::pthread_attr_setstacksize(&attributes, 2 << 20);
#else
  ::pthread_attr_setstacksize(&attributes, 256 << 10);
#endif
  pthread_t thread{};
  const auto walk = [](void* self) -> void* {
    const int root = static_cast<Extract*>(self)->root_.get();
    StringSink sink;
    EXPECT_TRUE(pack(root, "/", sink, {.rename = ""}));
    EXPECT_EQ(disk_usage(root)->inodes, 851U);
    const TempTree empty;
    EXPECT_EQ(overlay_changes(root, empty.open().get())->size(), 851U);
    return nullptr;
  };
  ASSERT_EQ(::pthread_create(&thread, &attributes, walk, this), 0);
  ::pthread_join(thread, nullptr);
  ::pthread_attr_destroy(&attributes);
}

// A tree may have the names that a removal uses for what it moves aside.
TEST_F(Extract, RemovalMeetsItsOwnNames) {
  ASSERT_TRUE(run(TarMaker().file("t/.corten-removal-1", "x").file("t/.corten-removal-2/y", "x").done()));
  UniqueFd at(::openat(root_.get(), "t", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  for (int i = 0; i < 400; ++i) {
    ASSERT_EQ(::mkdirat(at.get(), "d", 0755), 0);
    at = UniqueFd(::openat(at.get(), "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  }
  const auto removed = sys::remove_tree_at(root_.get(), "t");
  EXPECT_TRUE(removed) << removed.error().text();
  EXPECT_FALSE(exists(root_.get(), "t"));
}

TEST_F(Extract, AFullDiskIsSaidSo) {
  const TempTree mount;
  const pid_t child = ::fork();
  if (child == 0) {
    const std::string command = "mount -t tmpfs -o size=1m none " + mount.path();
    if (::unshare(CLONE_NEWNS) != 0 || ::system("mount --make-rprivate /") != 0 || ::system(command.c_str()) != 0)
      ::_exit(77);
    const UniqueFd root(::open(mount.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    StringSource source(TarMaker().file("big", std::string(4U << 20, 'x')).done());
    const auto done = extract(source, root.get(), "/");
    ::_exit(!done && done.error().kind() == ErrorKind::exhausted &&
                    done.error().text().find("no space left") != std::string::npos
                ? 0
                : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  if (WEXITSTATUS(status) == 77) GTEST_SKIP() << "needs a mount namespace";
  EXPECT_EQ(status, 0);
}

TEST_F(Extract, OverlaysOwnAttributesAreNotTaken) {
  TarEntry entry{.type = TarType::directory, .name = "d", .mode = 0755};
  entry.xattrs["trusted.overlay.redirect"] = "/etc";
  entry.xattrs["trusted.overlay.opaque"] = "y";
  entry.xattrs["user.overlay.opaque"] = "y";
  ASSERT_TRUE(run(TarMaker().add(entry).done(), {.layer = true}));
  char names[1024];
  EXPECT_EQ(::listxattr((scratch_.path() + "/root/d").c_str(), names, sizeof(names)), 0);
  // A whiteout in overlayfs' own form says no more than ".wh.w" would.
  EXPECT_TRUE(run(TarMaker().add({.type = TarType::character, .name = "w"}).done(), {.layer = true}));
}

TEST_F(Extract, WhiteoutNamesAreChecked) {
  for (const std::string name : {".wh.", ".wh..", ".wh...", "d/.wh..", "d/.wh..."}) {
    const auto done = run(TarMaker().dir("d").file(name, "").done(), {.layer = true});
    ASSERT_FALSE(done) << name;
    EXPECT_EQ(done.error().kind(), ErrorKind::invalid);
  }
  EXPECT_TRUE(run(TarMaker().file(".wh..wh.plnk", "").file(".wh.x", "").done(), {.layer = true}));
  EXPECT_TRUE(run(TarMaker().file(".wh.plain", "p").done()));
  EXPECT_EQ(slurp(root_.get(), ".wh.plain"), "p");
}

TEST_F(Extract, OwnerCanBeGiven) {
  ASSERT_TRUE(run(TarMaker().add({.type = TarType::file, .name = "a/f", .mode = 0600, .uid = 9}, "x").done(),
                  {.owner = std::pair<uid_t, gid_t>(4, 5)}));
  struct stat status{};
  ASSERT_EQ(::fstatat(root_.get(), "a/f", &status, 0), 0);
  EXPECT_EQ(status.st_uid, 4U);
  ASSERT_EQ(::fstatat(root_.get(), "a", &status, 0), 0);
  EXPECT_EQ(status.st_gid, 5U);
}

// Somebody in the container exchanges directories and links while `cp` writes.
TEST_F(Extract, RacingLinksCannotLeadOut) {
  std::atomic<bool> stop = false;
  ASSERT_EQ(::mkdirat(root_.get(), "d", 0755), 0);
  std::thread racer([&] {
    while (!stop) {
      ::renameat(root_.get(), "d", root_.get(), "d.away");
      ::symlinkat(out_path().c_str(), root_.get(), "d");
      ::unlinkat(root_.get(), "d", 0);
      ::symlinkat("../outside", root_.get(), "d");
      ::unlinkat(root_.get(), "d", 0);
      ::renameat(root_.get(), "d.away", root_.get(), "d");
    }
  });
  const std::string tar = TarMaker()
                              .file("d/secret", "changed")
                              .add({.type = TarType::character, .name = "d/null", .mode = 0777, .major = 1, .minor = 3})
                              .dir("d/sub", 0777)
                              .file("d/sub/x", "x")
                              .done();
  for (int i = 0; i < 400; ++i) static_cast<void>(run(tar));
  stop = true;
  racer.join();
  expect_outside_untouched();
}

TEST_F(Extract, PacksWhatItUnpacked) {
  ASSERT_TRUE(run(
      TarMaker().dir("d", 0750).file("d/f", "x").hard_link("d/g", "d/f").symlink("d/s", "f").file("top", "t").done()));
  StringSink whole, named, file;
  ASSERT_TRUE(pack(root_.get(), "/", whole, {.rename = ""}));
  ASSERT_TRUE(pack(root_.get(), "/d", named));
  ASSERT_TRUE(pack(root_.get(), "d/s", file, {.follow_top = true}));
  const auto names = [](const std::string& tar) {
    std::vector<std::string> out;
    StringSource source(tar);
    TarReader reader(source);
    TarEntry entry;
    for (;;) {
      const auto more = reader.next(entry);
      if (!more || !*more) return out;
      out.push_back(entry.name);
    }
  };
  EXPECT_EQ(names(whole.text), (std::vector<std::string>{"d/", "d/f", "d/g", "d/s", "top"}));
  EXPECT_EQ(names(named.text), (std::vector<std::string>{"d/", "d/f", "d/g", "d/s"}));
  EXPECT_EQ(names(file.text), std::vector<std::string>{"s"});
  StringSink missing;
  EXPECT_EQ(pack(root_.get(), "/nope", missing).error().kind(), ErrorKind::not_found);
}

TEST_F(Extract, StatsPathsInside) {
  ASSERT_TRUE(run(TarMaker().dir("d").file("d/f", "12345").symlink("l", "/d/f").done()));
  EXPECT_EQ(stat_path(root_.get(), "/d/f")->size, 5);
  EXPECT_EQ(stat_path(root_.get(), "/l")->link_target, "/d/f");
  EXPECT_EQ(stat_path(root_.get(), "/")->name, "/");
  EXPECT_EQ(stat_path(root_.get(), "/nope").error().text(), "Could not find the file /nope in container");
}

TEST_F(Extract, RemovesVeryDeepTrees) {
  UniqueFd at = scratch_.open("root");
  for (int i = 0; i < 3000; ++i) {
    ASSERT_EQ(::mkdirat(at.get(), "deep", 0755), 0);
    at = UniqueFd(::openat(at.get(), "deep", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  }
  at.reset();
  // Replacing the tree removes it first.
  const auto done = run(TarMaker().file("deep", "file").done());
  ASSERT_TRUE(done) << done.error().text();
  EXPECT_EQ(slurp(root_.get(), "deep"), "file");
}

}  // namespace
}  // namespace corten::store
