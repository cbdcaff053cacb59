#include "context/tar_intake.h"

#include <gtest/gtest.h>
#include <sys/sysmacros.h>

#include "context/tree.h"
#include "store/store_fixture.h"

namespace corten::context {
namespace {

using store::TarEntry;
using store::TarMaker;
using store::TarType;
using store::TempTree;

class TarIntakeTest : public ::testing::Test {
 protected:
  TarIntakeTest() : pool_(*Pool::open(scratch_.path() + "/pool", 1ULL << 30)), hold_(pool_->hold()) {}
  Result<Listing> taken(std::string tar, const TarIntakeOptions& options = {}) {
    store::StringSource source(std::move(tar));
    return take_tar(source, *pool_, *hold_, options);
  }
  Listing good(std::string tar, const TarIntakeOptions& options = {}) {
    auto out = taken(std::move(tar), options);
    EXPECT_TRUE(out) << out.error().text();
    return out.value_or(Listing());
  }
  std::string text_of(const Listing& listing, const std::string& path) {
    const Entry* entry = listing.find(path);
    if (entry == nullptr || !entry->digest) return "<none>";
    return pool_->read(*entry->digest, 1U << 26).value_or("<unreadable>");
  }
  static std::string names(const Listing& listing) {
    std::string out;
    for (const Entry& entry : listing.entries) out += (out.empty() ? "" : " ") + entry.path;
    return out;
  }
  std::string refusal(std::string tar, const TarIntakeOptions& options = {}) {
    const auto out = taken(std::move(tar), options);
    if (out) return "<taken>";
    EXPECT_EQ(out.error().kind(), ErrorKind::invalid) << out.error().text();
    EXPECT_EQ(out.error().text().find('\n'), std::string::npos);
    return out.error().text();
  }

  TempTree scratch_;
  std::unique_ptr<Pool> pool_;
  std::unique_ptr<Hold> hold_;
};

TEST_F(TarIntakeTest, TakesEveryKind) {
  TarEntry rich{.type = TarType::file, .name = "./d/rich", .mode = 04755, .uid = 5, .gid = 6, .mtime = {12, 34}};
  rich.xattrs = {{"security.capability", "c"}, {"trusted.overlay.opaque", "y"}};
  const Listing out = good(TarMaker()
                               .dir("./")
                               .dir("./d/", 0700)
                               .add(rich, "text")
                               .symlink("link", "../../outside")
                               .hard_link("d/hard", "./d/rich")
                               .add({.type = TarType::character, .name = "c", .major = 1, .minor = 3})
                               .add({.type = TarType::fifo, .name = "p"})
                               .file("/absolute/.wh.x", "plain")
                               .done());
  EXPECT_EQ(names(out), "absolute absolute/.wh.x c d d/hard d/rich link p");
  const Entry* file = out.find("d/rich");
  EXPECT_EQ(file->mode, 04755U);
  EXPECT_EQ(file->uid, 5U);
  EXPECT_EQ(file->mtime_ns, 12'000'000'034);
  EXPECT_EQ(file->xattrs.size(), 1U);
  EXPECT_EQ(text_of(out, "d/rich"), "text");
  EXPECT_EQ(out.find("d/hard")->digest, file->digest);
  EXPECT_EQ(out.find("d/hard")->mode, 04755U);
  EXPECT_EQ(out.find("d")->mode, 0700U);
  EXPECT_EQ(out.find("absolute")->mode, 0755U);
  EXPECT_EQ(out.find("absolute")->kind, Kind::directory);
  EXPECT_EQ(out.find("link")->link, "../../outside");
  EXPECT_EQ(out.find("c")->device, makedev(1, 3));
  EXPECT_EQ(good(TarMaker().add(rich, "text").done(), {.owners = false}).find("d/rich")->uid, 0U);
}

TEST_F(TarIntakeTest, TheLaterWins) {
  Listing out = good(TarMaker().file("a", "one").file("a", "two").dir("b").file("b/x", "x").dir("b", 0700).done());
  EXPECT_EQ(text_of(out, "a"), "two");
  EXPECT_EQ(names(out), "a b b/x");
  EXPECT_EQ(out.find("b")->mode, 0700U);
  // A file takes the place of a directory and of all in it.
  out = good(TarMaker().dir("b").file("b/x", "x").file("b/y/z", "z").file("b-c", "").file("b", "file").done());
  EXPECT_EQ(names(out), "b b-c");
  EXPECT_EQ(text_of(out, "b"), "file");
  out = good(TarMaker().file("b", "file").dir("b").file("b/x", "x").done());
  EXPECT_EQ(names(out), "b b/x");
}

TEST_F(TarIntakeTest, LinksAreFollowedInsideOnly) {
  Listing out = good(TarMaker().dir("real").symlink("link", "real").file("link/f", "in real").done());
  EXPECT_EQ(names(out), "link real real/f");
  out = good(TarMaker().symlink("up", "../../..").file("up/etc/passwd", "ours").done());
  EXPECT_EQ(names(out), "etc etc/passwd up");
  out = good(TarMaker().symlink("abs", "/etc").file("abs/shadow", "ours").done());
  EXPECT_EQ(names(out), "abs etc etc/shadow");
  out = good(TarMaker().dir("d").symlink("d/l", "../e/f").file("d/l/x", "x").done());
  EXPECT_EQ(names(out), "d d/l e e/f e/f/x");
  // The last component is not followed.
  out = good(TarMaker().symlink("l", "/etc/passwd").file("l", "mine").done());
  EXPECT_EQ(names(out), "l");
  EXPECT_EQ(text_of(out, "l"), "mine");
  EXPECT_NE(refusal(TarMaker().symlink("a", "b").symlink("b", "a").file("a/x", "").done()).find("symbolic links"),
            std::string::npos);
  EXPECT_NE(refusal(TarMaker().file("f", "").file("f/x", "").done()).find("no directory"), std::string::npos);
  EXPECT_NE(refusal(TarMaker().file("f", "").symlink("l", "f").file("l/x", "").done()).find("no directory"),
            std::string::npos);
}

TEST_F(TarIntakeTest, RefusesWhatLeadsOut) {
  for (const char* name : {"..", "../x", "a/../../x", "/../x", "./../x"})
    EXPECT_NE(refusal(TarMaker().file(name, "x").done()).find("outside"), std::string::npos) << name;
  EXPECT_EQ(names(good(TarMaker().dir("a").file("a/../x", "x").done())), "a x");
  for (const char* target : {"../x", "/../x", "missing", "f/x", ""})
    EXPECT_NE(refusal(TarMaker().file("f", "").hard_link("h", target).done()), "<taken>") << target;
  EXPECT_NE(refusal(TarMaker().dir("d").hard_link("h", "d").done()).find("directory"), std::string::npos);
  EXPECT_NE(refusal(TarMaker().symlink("l", "/etc").hard_link("h", "l/passwd").done()), "<taken>");
  EXPECT_NE(refusal(TarMaker().file(".", "").done()), "<taken>");
  const Listing out = good(TarMaker().symlink("l", "t").hard_link("h", "l").hard_link("h", "h").done());
  EXPECT_EQ(out.find("h")->link, "t");
}

TEST_F(TarIntakeTest, CompressedOnesAndCutOnes) {
  const std::string tar = TarMaker().file("f", std::string(100'000, 'f')).done();
  for (const store::Compression how : {store::Compression::gzip, store::Compression::zstd}) {
    store::StringSink packed;
    auto sink = *store::compress(packed, how);
    ASSERT_TRUE(sink->write(std::as_bytes(std::span(tar))));
    ASSERT_TRUE(sink->finish());
    EXPECT_EQ(text_of(good(packed.text), "f").size(), 100'000U);
    EXPECT_NE(refusal(packed.text.substr(0, packed.text.size() / 2)), "<taken>");
    EXPECT_NE(refusal(packed.text, {.decompress = false}), "<taken>");
  }
  EXPECT_NE(refusal(tar.substr(0, 50'000)), "<taken>");
  EXPECT_NE(refusal(tar.substr(0, tar.size() - 1024)), "<taken>");
  EXPECT_EQ(names(good(TarMaker().file("f", "").cut(), {.need_end_marker = false})), "f");
  EXPECT_NE(refusal(""), "<taken>");
  EXPECT_NE(refusal(std::string(5000, 'x')), "<taken>");
  EXPECT_TRUE(good(TarMaker().done()).entries.empty());
}

TEST_F(TarIntakeTest, KeepsToItsLimits) {
  TarMaker many;
  for (int i = 0; i < 5; ++i) many.file("f" + std::to_string(i), "12345");
  const std::string tar = many.done();
  EXPECT_NE(refusal(tar, {.limits = {.entries = 4}}).find("more than 4 entries"), std::string::npos);
  EXPECT_NE(refusal(tar, {.limits = {.bytes = 24}}).find("more than 24 bytes"), std::string::npos);
  EXPECT_EQ(good(tar, {.limits = {.entries = 5, .bytes = 25}}).entries.size(), 5U);
  std::string deep;
  for (int i = 0; i < 300; ++i) deep += "d/";
  EXPECT_NE(refusal(TarMaker().dir(deep).done()).find("levels"), std::string::npos);
  // Through links that each name the one before twice: 2^30 steps if nobody counts.
  TarMaker doubling;
  doubling.symlink("l0", ".");
  for (int i = 1; i < 30; ++i) {
    doubling.symlink(fmt::format("l{}", i), fmt::format("l{0}/l{0}", i - 1));
  }
  EXPECT_NE(refusal(doubling.file("l29/f", "").done()).find("symbolic links"), std::string::npos);
}

TEST_F(TarIntakeTest, FewBytesDoNotNameALot) {
  TarEntry rich{.type = TarType::file, .name = "rich", .mode = 0644};
  rich.xattrs = {{"user.a", std::string(60'000, 'x')}};
  TarMaker links;
  links.add(rich, "");
  for (int i = 0; i < 100; ++i) links.hard_link(fmt::format("link{}", i), "rich");
  EXPECT_NE(refusal(links.done(), {.description_bytes = 1U << 20}).find("take too much memory"), std::string::npos);
  std::string deep;
  for (int i = 0; i < 200; ++i) deep += "directory/";
  EXPECT_NE(refusal(TarMaker().file(deep + "f", "").done(), {.description_bytes = 100'000}).find("too much memory"),
            std::string::npos);
  EXPECT_EQ(good(TarMaker().file(deep + "f", "").done()).entries.size(), 201U);
}

TEST_F(TarIntakeTest, SparseFilesAreWhole) {
  // As GNU tar writes them in the pax format, version 0.1.
  std::string records;
  for (const std::string text : {"GNU.sparse.major=0", "GNU.sparse.minor=1", "GNU.sparse.name=./sparse",
                                 "GNU.sparse.realsize=200000", "GNU.sparse.numblocks=2", "GNU.sparse.map=0,5,100000,5"})
    records += std::to_string(text.size() + 4) + " " + text + "\n";
  store::StringSink sink;
  store::TarWriter writer(sink);
  TarEntry pax{.type = TarType::file, .name = "pax", .size = records.size()};
  ASSERT_TRUE(writer.file(pax, records));
  sink.text[156] = 'x';
  unsigned sum = 0;
  sink.text.replace(148, 8, 8, ' ');
  for (int i = 0; i < 512; ++i) sum += static_cast<unsigned char>(sink.text[static_cast<std::size_t>(i)]);
  sink.text.replace(148, 8, fmt::format("{:06o}", sum) + std::string("\0 ", 2));
  ASSERT_TRUE(writer.file({.type = TarType::file, .name = "x", .mode = 0644, .size = 10}, "firstother"));
  ASSERT_TRUE(writer.finish());
  const Listing out = good(sink.text);
  std::string whole = "first" + std::string(200'000 - 5, '\0');
  whole.replace(100'000, 5, "other");
  EXPECT_EQ(out.entries.size(), 1U);
  EXPECT_EQ(text_of(out, out.entries[0].path), whole);
  EXPECT_EQ(out.entries[0].size, 200'000U);
}

TEST_F(TarIntakeTest, CanBeStopped) {
  std::stop_source stop;
  stop.request_stop();
  store::StringSource source(TarMaker().file("f", "x").done());
  EXPECT_EQ(take_tar(source, *pool_, *hold_, {}, stop.get_token()).error().kind(), ErrorKind::cancelled);
}

TEST_F(TarIntakeTest, NoControlCharactersInErrors) {
  EXPECT_EQ(refusal(TarMaker().file("../a\nb\x1b", "").done()).find('\x1b'), std::string::npos);
}

}  // namespace
}  // namespace corten::context
