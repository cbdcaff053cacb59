// A layer as an image and as a directory: the same trees, and the same refusals.
#include "store/erofs_layer.h"

#include <gmock/gmock.h>

#include "erofs/image_fixture.h"
#include "store/store_fixture.h"
#include "sys/beneath.h"

namespace corten::store {
namespace {

using erofs::Contents;

class ErofsLayer : public testing::TestWithParam<erofs::Compression> {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "owners and mounts need root";
    ASSERT_EQ(::mkdir((scratch_.path() + "/below").c_str(), 0755), 0);
    below_ = scratch_.open("below");
  }

  Result<UniqueFd> find_below(const std::string& path) const {
    auto fd = sys::open_beneath(below_.get(), path, O_PATH | O_NOFOLLOW, sys::Resolve::no_symlinks);
    return fd ? std::move(*fd) : UniqueFd();
  }

  Result<ErofsLayerStats> make_image(const std::string& tar, const ExtractLimits& limits = {}) {
    image_ = erofs::new_image_file();
    StringSource source(tar);
    ErofsLayerOptions options;
    options.limits = limits;
    options.below = [this](const std::string& path) { return find_below(path); };
    options.identity = [] { return Result<std::string>("a name"); };
    options.compression = GetParam();
    return write_erofs_layer(source, image_.get(), options);
  }

  Result<ExtractStats> unpack(const std::string& tar, const ExtractLimits& limits = {}) {
    const std::string name = "root" + std::to_string(roots_++);
    EXPECT_EQ(::mkdir((scratch_.path() + "/" + name).c_str(), 0755), 0);
    root_ = scratch_.open(name);
    StringSource source(tar);
    ExtractOptions options{.layer = true, .need_end_marker = false, .decompress = false, .limits = limits};
    options.below = [this](const std::string& path) { return find_below(path); };
    return extract(source, root_.get(), "/", options);
  }

  // The time of what the archive has not named is of no interest; ACLs and the like must be alike.
  static Contents comparable(int directory) {
    Contents contents = erofs::contents_of(directory);
    for (auto& [path, seen] : contents) {
      if (S_ISDIR(seen.mode)) seen.data.clear();  // the order of names
      const bool now = seen.mtime > 1'750'000'000, none = seen.mtime == 0;
      if (now || none) seen.mtime = seen.nsec = 0;
    }
    return contents;
  }

  // Both ways, and what both have made or said.
  void expect_same(const std::string& tar, const ExtractLimits& limits = {}) {
    const auto unpacked = unpack(tar, limits);
    const auto made = make_image(tar, limits);
    ASSERT_EQ(unpacked.has_value(), made.has_value()) << (unpacked ? made.error().text() : unpacked.error().text());
    if (!made) {
      // For the kernel a link that leads in a circle is no matter of an invalid archive.
      if (unpacked.error().sys_errno() == ELOOP) {
        EXPECT_EQ(made.error().kind(), ErrorKind::invalid) << made.error().text();
        return;
      }
      EXPECT_EQ(made.error().text(), unpacked.error().text());
      EXPECT_EQ(made.error().kind(), unpacked.error().kind());
      return;
    }
    EXPECT_EQ(made->content.entries, unpacked->entries);
    EXPECT_EQ(made->content.bytes, unpacked->bytes);
    EXPECT_THAT(erofs::check_image(image_.get()), testing::AnyOf(0, 127));
    const UniqueFd mount = erofs::mount_image(image_.get());
    if (!mount) GTEST_SKIP() << erofs::why_no_mount();
    EXPECT_EQ(comparable(mount.get()), comparable(root_.get()));
  }

  TempTree scratch_;
  UniqueFd below_, root_, image_;
  int roots_ = 0;
};

INSTANTIATE_TEST_SUITE_P(Each, ErofsLayer, testing::Values(erofs::Compression::none, erofs::Compression::lz4));

TEST_P(ErofsLayer, HasWhatTheArchiveSays) {
  TarEntry entry{.type = TarType::file, .name = "f", .mode = 06711, .uid = 12, .gid = 34, .mtime = {1'600'000'000, 5}};
  entry.xattrs["user.k"] = "v";
  entry.xattrs["security.capability"] = std::string("\1\0\0\2\0\40\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 20);
  TarEntry named_top{.type = TarType::directory, .name = "./", .mode = 0710, .uid = 5, .gid = 6, .mtime = {1, 2}};
  expect_same(TarMaker()
                  .add(named_top)
                  .dir("d", 0700)
                  .add(entry, std::string(10'000, 't'))
                  .add({.type = TarType::block, .name = "d/b", .mode = 0640, .uid = 1, .major = 7, .minor = 9})
                  .add({.type = TarType::character, .name = "d/c", .mode = 0600, .major = 259, .minor = 70'000})
                  .add({.type = TarType::fifo, .name = "d/p", .mode = 0622})
                  .hard_link("d/h", "f")
                  .symlink("d/s", "/etc/passwd")
                  .file("empty", "")
                  .done());
}

TEST_P(ErofsLayer, NamesAndLinksStayInside) {
  expect_same(TarMaker().file("/abs", "1").file("../up", "2").file("a/../../b/./c", "3").file("////x//y", "4").done());
  expect_same(TarMaker().dir("usr").dir("usr/lib").symlink("lib", "/usr/lib").file("lib/so", "x").done());
  for (const std::string target : {"/tmp", "../outside", "../../../../../../..", "/", "link", "/link/x"}) {
    expect_same(TarMaker().symlink("link", target).file("link/secret", "changed").file("link/new", "n").done());
    expect_same(TarMaker().symlink("link", target).dir("link").file("link/secret", "changed").done());
    expect_same(TarMaker().symlink("link", target + "/secret").file("link", "changed").done());
    expect_same(
        TarMaker().symlink("link", target + "/secret").hard_link("hard", "link").file("hard", "changed").done());
    expect_same(TarMaker().symlink("a", target).symlink("a/b", "x").hard_link("a/c", "a/secret").done());
  }
  expect_same(TarMaker().hard_link("h", "/tmp/secret").done());
  expect_same(TarMaker().hard_link("h", "../outside/secret").done());
  expect_same(TarMaker().file("a", "").hard_link("h", "a/secret").done());
  expect_same(TarMaker().dir("a").hard_link("h", "a").done());
  expect_same(TarMaker().hard_link("h", "/").done());
}

TEST_P(ErofsLayer, TheRootCannotBeReplaced) {
  for (const TarType type : {TarType::file, TarType::symlink, TarType::hard_link, TarType::fifo})
    expect_same(TarMaker().add({.type = type, .name = ".", .link = "x", .mode = 0777}).done());
  expect_same(TarMaker().file("a/..", "x").done());
}

TEST_P(ErofsLayer, LaterEntriesReplaceEarlierOnes) {
  expect_same(TarMaker()
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
  expect_same(TarMaker().dir("old").symlink("way", "old").file("way/x", "1").dir("way").file("way/y", "2").done());
  expect_same(TarMaker().file("f", "file").file("f/x", "beneath a file").done());
}

TEST_P(ErofsLayer, LimitsHold) {
  ExtractLimits few{};
  few.entries = 3;
  expect_same(TarMaker().dir("a").dir("b").dir("c").dir("d").done(), few);
  ExtractLimits small{};
  small.bytes = 100;
  expect_same(TarMaker().file("a", std::string(60, 'a')).file("b", std::string(60, 'b')).done(), small);
  expect_same(TarMaker().file(std::string(300, 'x'), "").done());
  std::string deep;
  for (int i = 0; i < 300; ++i) deep += "d/";
  expect_same(TarMaker().file(deep + "f", "").done());
  expect_same(TarMaker().file(std::string(5000, '/') + "f", "").done());
  expect_same(TarMaker().file("bad\nname/..", "").done());
  std::string torn = TarMaker().file("big", std::string(100'000, 'x')).done();
  torn.resize(torn.size() / 2);
  expect_same(torn);
  expect_same("no tar at all");
}

TEST_P(ErofsLayer, WhiteoutsAndOpaqueDirectories) {
  expect_same(TarMaker().file("a/.wh.gone", "").file("b/.wh..wh..opq", "").dir("b").file("b/new", "n").done());
  expect_same(TarMaker().file(".wh.data", "").dir("data").file("data/three", "3").done());
  expect_same(TarMaker().dir("data").file("data/three", "3").file(".wh.data", "").done());
  expect_same(TarMaker().file(".wh.data", "").file("data/three", "3").done());
  expect_same(TarMaker().file(".wh.f", "").file("f", "new").file("g", "new").file(".wh.g", "").done());
  expect_same(TarMaker().file(".wh..wh..opq", "").file(".wh..wh.plnk", "").done());
  expect_same(TarMaker().add({.type = TarType::character, .name = "w"}).dir("w").done());
  for (const std::string name : {".wh.", ".wh..", ".wh...", "d/.wh..", "d/.wh..."})
    expect_same(TarMaker().dir("d").file(name, "").done());
}

TEST_P(ErofsLayer, TakesFromTheLayersBelow) {
  ASSERT_EQ(::mkdirat(below_.get(), "home", 0700), 0);
  ASSERT_EQ(::fchownat(below_.get(), "home", 7, 8, 0), 0);
  ASSERT_TRUE(spill(below_.get(), "home/f", std::string(300'000, 'f'), 0640));
  ASSERT_TRUE(spill(below_.get(), "zeros", std::string(200'000, '\0')));
  ASSERT_EQ(::symlinkat("home/f", below_.get(), "s"), 0);
  ASSERT_EQ(::mkfifoat(below_.get(), "p", 0600), 0);
  ASSERT_EQ(::mknodat(below_.get(), "n", S_IFCHR | 0666, makedev(1, 3)), 0);
  const UniqueFd file(::openat(below_.get(), "home/f", O_RDONLY | O_CLOEXEC));
  ASSERT_EQ(::fsetxattr(file.get(), "user.note", "v", 1, 0), 0);
  expect_same(TarMaker()
                  .file("home/new", "n")
                  .hard_link("copy", "home/f")
                  .hard_link("again", "copy")
                  .hard_link("z", "zeros")
                  .hard_link("s2", "s")
                  .hard_link("p2", "p")
                  .hard_link("n2", "n")
                  .done());
  expect_same(TarMaker().hard_link("h", "home").done());
  ExtractLimits small{};
  small.bytes = 500'000;
  expect_same(TarMaker().hard_link("a", "home/f").hard_link("b", "home/f").done(), small);
}

TEST_P(ErofsLayer, AttributesAreWhatTheKernelTakes) {
  // Version 2; the owner rw-, user 1000 r--, group r--, mask rw-, others ---.
  const std::string list(
      "\2\0\0\0\1\0\6\0\377\377\377\377\2\0\4\0\350\3\0\0\4\0\4\0\377\377\377\377\20\0\6\0\377\377\377\377\40\0\0\0\377"
      "\377\377\377",
      44);
  std::string plain = list.substr(0, 12) + list.substr(20, 8) + list.substr(36, 8), torn = list.substr(0, 41),
              unsorted = list.substr(0, 4) + list.substr(12, 8) + list.substr(4, 8) + list.substr(20);
  for (const std::string& value : {list, plain, torn, unsorted, std::string("\3\0\0\0", 4), std::string()}) {
    TarMaker tar;
    for (const TarType type : {TarType::file, TarType::directory}) {
      TarEntry entry{.type = type, .name = "e" + std::to_string(static_cast<int>(type)), .mode = 0755};
      entry.xattrs["system.posix_acl_access"] = value;
      if (type == TarType::directory) entry.xattrs["system.posix_acl_default"] = value;
      entry.xattrs["user.a"] = entry.xattrs["trusted.b"] = "v";
      tar.add(entry);
    }
    expect_same(tar.done());
  }
  TarEntry odd{.type = TarType::file, .name = "odd", .mode = 0644};
  odd.xattrs["trusted.overlay.redirect"] = odd.xattrs["user.overlay.opaque"] = "/etc";
  odd.xattrs["nobody.knows"] = odd.xattrs["security.capability"] = odd.xattrs["user."] = "x";
  odd.xattrs["user.plain"] = "";
  TarEntry link{.type = TarType::symlink, .name = "link", .link = "x", .mode = 0777};
  link.xattrs["user.a"] = link.xattrs["trusted.b"] = "v";
  TarEntry opaque{.type = TarType::directory, .name = "dir", .mode = 0755};
  opaque.xattrs["trusted.overlay.opaque"] = "y";
  expect_same(TarMaker().add(odd).add(link).add(opaque).done());
  TarEntry large{.type = TarType::file, .name = "large", .mode = 0644};
  large.xattrs["user." + std::string(300, 'n')] = "x";
  expect_same(TarMaker().add(large).done());
}

TEST_P(ErofsLayer, SparseFilesHaveHoles) {
  TarEntry entry{.type = TarType::file, .name = "sparse", .mode = 0644, .size = 1024};
  std::string tar;
  {
    // As GNU tar writes version 1.0: the map stands before the data.
    std::string map = "2\n1048576\n256\n8388608\n256\n";
    map.resize(512, '\0');
    const std::string body = map + std::string(256, 'a') + std::string(256, 'b');
    const std::string pax =
        "22 GNU.sparse.major=1\n"
        "22 GNU.sparse.minor=0\n"
        "30 GNU.sparse.name=the-sparse\n"
        "32 GNU.sparse.realsize=16777216\n";
    std::string text = TarMaker().add({.type = TarType::file, .name = "pax", .mode = 0644}, pax).cut();
    text.resize(1024, '\0');
    text[156] = 'x';
    unsigned sum = 0;
    for (std::size_t i = 0; i < 512; ++i) sum += i >= 148 && i < 156 ? ' ' : static_cast<unsigned char>(text[i]);
    text.replace(148, 8, fmt::format("{:06o}", sum) + std::string("\0 ", 2));
    tar = text + TarMaker().add(entry, body).done();
  }
  const auto made = make_image(tar);
  ASSERT_TRUE(made) << made.error().text();
  EXPECT_EQ(made->content.bytes, 16U << 20);
  expect_same(tar);
  struct stat status{};
  ASSERT_EQ(::fstat(image_.get(), &status), 0);
  EXPECT_GT(status.st_size, 16 << 20);
  EXPECT_LT(status.st_blocks * 512, 4 << 20);
}

TEST_P(ErofsLayer, SameTarSameImage) {
  const std::string tar = TarMaker().dir("d").file("d/f", std::string(9000, 'x')).file("d/.wh.y", "").done();
  std::string images[2];
  for (std::string& bytes : images) {
    ASSERT_TRUE(make_image(tar));
    ASSERT_EQ(::lseek(image_.get(), 0, SEEK_SET), 0);
    FdSource source(image_.get());
    bytes = *read_all(source, 1U << 20, "image");
  }
  EXPECT_EQ(images[0], images[1]);
}

}  // namespace
}  // namespace corten::store
