// ADD of archives: what is unpacked, what is not, and archives that would lead out.
#include <gmock/gmock.h>

#include "build/copy_fixture.h"
#include "store/archive.h"

namespace corten::build {
namespace {

using store::TarEntry;
using store::TarType;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

TarEntry entry(TarType type, std::string name, std::string to = "") {
  TarEntry made{.type = type, .name = std::move(name), .link = std::move(to), .mode = 0644, .uid = 7};
  made.gid = 8;
  if (type == TarType::directory) made.mode = 0700;
  return made;
}

// Files have their names' last letter as content.
std::string archive(const std::vector<TarEntry>& entries) {
  store::StringSink sink;
  store::TarWriter writer(sink);
  for (const auto& one : entries) {
    if (one.type == TarType::file)
      EXPECT_TRUE(writer.file(one, one.name.substr(one.name.size() - 1)));
    else
      EXPECT_TRUE(writer.header(one));
  }
  EXPECT_TRUE(writer.finish());
  return sink.text;
}

std::string packed(const std::string& text, store::Compression how) {
  store::StringSink sink;
  const auto out = *store::compress(sink, how);
  EXPECT_TRUE(out->write(std::as_bytes(std::span(text))));
  EXPECT_TRUE(out->finish());
  return sink.text;
}

class AddTest : public CopyTest {
 protected:
  AddTest() { request.add = true; }
  std::vector<std::string> unpacked(const std::vector<TarEntry>& entries, const std::string& destination = "/x/") {
    context({file("a.tar", archive(entries))});
    return copy({"a.tar"}, destination);
  }
};

TEST_F(AddTest, ArchivesAreKnownByTheirContent) {
  const std::string plain =
      archive({entry(TarType::directory, "./"), entry(TarType::directory, "d/"), entry(TarType::file, "./d/f")});
  const auto unpacked = ElementsAre("x/ 755 0:0", "x/d/ 700 7:8", "x/d/f 644 7:8 f");
  for (const std::string& content :
       {plain, packed(plain, store::Compression::gzip), packed(plain, store::Compression::zstd)}) {
    context({file("whatever", content)});
    EXPECT_THAT(copy({"whatever"}, "/x"), unpacked);
    EXPECT_THAT(copy({"what*"}, "/x/"), unpacked);
  }
  context({file("a.tar", "no archive"), file("b.gz", packed("no archive", store::Compression::gzip)),
           file("c.tar", std::string(2048, '\0')), file("e", "")});
  EXPECT_THAT(copy({"a.tar"}, "/x"), ElementsAre("x 644 0:0 no archive"));
  EXPECT_THAT(copy({"b.gz"}, "/x/"), ElementsAre("x/ 755 0:0", HasSubstr("x/b.gz 644 0:0 ")));
  EXPECT_THAT(copy({"e", "c.tar"}, "/x/"), ElementsAre("x/ 755 0:0", HasSubstr("x/c.tar"), "x/e 644 0:0 "));
}

TEST_F(AddTest, WhatIsNotUnpacked) {
  context({dir("d"), file("d/a.tar", archive({entry(TarType::file, "f")}))});
  EXPECT_THAT(copy({"d"}, "/x/"), ElementsAre("x/ 755 0:0", HasSubstr("x/a.tar 644 0:0 ")));
  request.unpack = false;
  EXPECT_THAT(copy({"d/a.tar"}, "/x/"), ElementsAre("x/ 755 0:0", HasSubstr("x/a.tar 644 0:0 ")));
  request.unpack.reset();
  request.add = false;
  EXPECT_THAT(copy({"d/a.tar"}, "/x/"), ElementsAre("x/ 755 0:0", HasSubstr("x/a.tar 644 0:0 ")));
}

TEST_F(AddTest, Downloads) {
  request.add = true;
  const std::string tar = archive({entry(TarType::file, "f")});
  const auto remote = std::make_shared<MemoryTree>(std::vector{file("a.tar", tar, 0600)});
  request.remotes["http://h/a.tar?q"] = {.tree = remote, .shown = "http://h/a.tar"};
  EXPECT_THAT(copy({"http://h/a.tar?q"}, "/x/"), ElementsAre("x/ 755 0:0", HasSubstr("x/a.tar 600 0:0 ")));
  EXPECT_TRUE(recipe_of(**prepare({"http://h/a.tar?q"}, "/x/")).contains("file http://h/a.tar"));
  request.unpack = true;
  EXPECT_THAT(copy({"http://h/a.tar?q"}, "/x/"), ElementsAre("x/ 755 0:0", "x/f 644 7:8 f"));
}

TEST_F(AddTest, ARepository) {
  request.add = true;
  const auto remote = std::make_shared<MemoryTree>(std::vector{file("a", "1"), dir("d"), file("d/b", "2")});
  request.remotes["https://h/r.git#main"] = {.tree = remote, .repository = true, .shown = "https://h/r.git#main"};
  request.chown = "3:4";
  EXPECT_THAT(copy({"https://h/r.git#main"}, "/x"),
              ElementsAre("x/ 755 3:4", "x/a 644 3:4 1", "x/d/ 755 3:4", "x/d/b 644 3:4 2"));
  EXPECT_TRUE(recipe_of(**prepare({"https://h/r.git#main"}, "/x")).contains("file https://h/r.git#main d/b"));
}

TEST_F(AddTest, ParentsAndOwners) {
  make_dir("x", 0711, 9);
  request.chown = "3:4";
  EXPECT_THAT(unpacked({entry(TarType::file, "a/b/f")}, "/x/y/"),
              ElementsAre("x/ 711 9:9", "x/y/ 755 3:4", "x/y/a/ 755 0:0", "x/y/a/b/ 755 0:0", "x/y/a/b/f 644 7:8 f"));
  request.chown = "";
  EXPECT_THAT(unpacked({entry(TarType::file, "f")}, "/x"), ElementsAre("x/ 711 9:9", "x/f 644 7:8 f"));
}

TEST_F(AddTest, NamesThatLeadOut) {
  EXPECT_THAT(unpacked({entry(TarType::file, "/etc/f"), entry(TarType::file, "a/../b")}),
              ElementsAre("x/ 755 0:0", "x/etc/ 755 0:0", "x/etc/f 644 7:8 f", "x/b 644 7:8 b"));
  for (const char* name : {"../f", "a/../../f", "/../f", ".."})
    EXPECT_THAT(unpacked({entry(TarType::file, name)}).back(), HasSubstr("outside extraction root")) << name;
  EXPECT_THAT(unpacked({entry(TarType::file, ".wh.f")}).back(), HasSubstr("names that begin with .wh."));
  EXPECT_THAT(unpacked({entry(TarType::file, "d/.wh..wh..opq")}).back(), HasSubstr("names that begin with .wh."));
}

TEST_F(AddTest, LinksStayWhereItIsUnpacked) {
  EXPECT_THAT(unpacked({entry(TarType::symlink, "out", "/etc"), entry(TarType::file, "out/f")}),
              ElementsAre("x/ 755 0:0", "x/out 644 7:8 -> /etc", "x/etc/ 755 0:0", "x/etc/f 644 7:8 f"));
  EXPECT_THAT(unpacked({entry(TarType::symlink, "up", "../../.."), entry(TarType::file, "up/f")}),
              ElementsAre("x/ 755 0:0", "x/up 644 7:8 -> ../../..", "x/f 644 7:8 f"));
  EXPECT_THAT(unpacked({entry(TarType::symlink, "l", "l"), entry(TarType::file, "l/f")}).back(),
              HasSubstr("too many links"));
  // Of the root, too: /x/lib leads to /usr/lib from where it is, which is /x/usr/lib seen from there.
  make_dir("x");
  make_link("x/lib", "/usr/lib");
  EXPECT_THAT(unpacked({entry(TarType::file, "lib/f")}),
              ElementsAre("x/ 755 0:0", "x/usr/ 755 0:0", "x/usr/lib/ 755 0:0", "x/usr/lib/f 644 7:8 f"));
  // At the top that is the usual one, and a directory does not replace it.
  make_dir("usr");
  make_dir("usr/lib", 0751);
  make_link("lib", "usr/lib");
  EXPECT_THAT(unpacked({entry(TarType::directory, "lib/"), entry(TarType::file, "lib/f")}, "/"),
              ElementsAre("usr/ 755 0:0", "usr/lib/ 700 7:8", "usr/lib/f 644 7:8 f"));
}

TEST_F(AddTest, HardLinks) {
  EXPECT_THAT(
      unpacked(
          {entry(TarType::file, "a/f"), entry(TarType::hard_link, "g", "a/f"), entry(TarType::hard_link, "h", "/a/f")}),
      ElementsAre("x/ 755 0:0", "x/a/ 755 0:0", "x/a/f 644 7:8 f", "x/g 644 7:8 == x/a/f", "x/h 644 7:8 == x/a/f"));
  EXPECT_THAT(unpacked({entry(TarType::hard_link, "g", "none")}).back(), HasSubstr("which is not there"));
  EXPECT_THAT(unpacked({entry(TarType::hard_link, "g", "../../etc/passwd")}).back(),
              HasSubstr("outside extraction root"));
  EXPECT_THAT(unpacked({entry(TarType::symlink, "e", "/"), entry(TarType::hard_link, "g", "e/etc/shadow")}).back(),
              HasSubstr("which is not there"));
}

TEST_F(AddTest, WhatIsThereMakesWay) {
  make_dir("x/d/e");
  make_file("x/f", "old");
  EXPECT_THAT(unpacked({entry(TarType::directory, "f/"), entry(TarType::file, "f/g")}),
              ElementsAre("x/ 755 0:0", "x/f/ 700 7:8", "x/f/g 644 7:8 g"));
  EXPECT_THAT(unpacked({entry(TarType::file, "d")}), ElementsAre("x/ 755 0:0", "x/d 644 7:8 d"));
  // A directory that comes back does not bring what the first one had.
  EXPECT_THAT(unpacked({entry(TarType::file, "d"), entry(TarType::directory, "d/")}),
              ElementsAre("x/ 755 0:0", "x/d 644 7:8 d", "x/d/ 700 7:8", "x/d/.wh..wh..opq 644 0:0 "));
}

TEST_F(AddTest, LaterSourcesWin) {
  context({file("a.tar", archive({entry(TarType::file, "b"), entry(TarType::file, "c")})), file("b", "mine"),
           file("c", "first")});
  EXPECT_THAT(copy({"c", "a.tar", "b"}, "/x/"),
              ElementsAre("x/ 755 0:0", "x/b 644 0:0 mine", "x/c 644 0:0 first", "x/c 644 7:8 c"));
}

TEST_F(AddTest, BrokenArchivesEndTheCopy) {
  const std::string tar = archive({entry(TarType::file, "a"), entry(TarType::file, "b")});
  context({file("a.tar", tar.substr(0, 1024 + 100))});
  EXPECT_THAT(copy({"a.tar"}, "/x/").back(), HasSubstr("unpack a.tar"));
  std::string gz = packed(tar, store::Compression::gzip);
  gz.resize(gz.size() - 20);
  context({file("a.tar", gz)});
  EXPECT_THAT(copy({"a.tar"}, "/x/").back(), HasSubstr("error: "));
}

TEST_F(AddTest, DevicesAttributesAndTimes) {
  auto device = entry(TarType::character, "null");
  device.major = 1;
  device.minor = 3;
  EXPECT_THAT(unpacked({device}), ElementsAre("x/ 755 0:0", "x/null 644 7:8 1:3"));
  auto odd = entry(TarType::file, "f");
  odd.xattrs = {
      {"user.a", "1"}, {"trusted.overlay.redirect", "/etc"}, {"user.overlay.x", "1"}, {"security.capability", "c"}};
  odd.mtime = {.tv_sec = 50'000, .tv_nsec = 500};
  context({file("a.tar", archive({odd}))});
  const auto prepared = prepare({"a.tar"}, "/x/");
  ASSERT_TRUE(prepared);
  const auto shown = walk(**prepared, Timestamp(std::chrono::seconds(2000)), [](const auto& one, const auto&) {
    std::string line = fmt::format("{} {}", one.name, one.mtime.tv_sec);
    for (const auto& [name, value] : one.xattrs) line += " " + name;
    return line;
  });
  EXPECT_THAT(shown, ElementsAre("x/ 2000", "x/f 2000 security.capability user.a"));
}

}  // namespace
}  // namespace corten::build
