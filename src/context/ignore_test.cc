#include "context/ignore.h"

#include <gtest/gtest.h>

namespace corten::context {
namespace {

Ignore parsed(std::string_view text) {
  auto out = Ignore::parse(text, ".dockerignore");
  EXPECT_TRUE(out) << out.error().text();
  return out ? *out : Ignore();
}

TEST(Ignore, LinesAreReadAsTheFieldReadsThem) {
  const Ignore ignore = parsed(
      "\xef\xbb\xbf# a comment\r\n\r\n  spaced  \n/rooted/\n./dotted/x/../y\n #not a comment\n\\#hash\n"
      "a//b\nlast");
  for (const std::string_view path :
       {"spaced", "rooted", "rooted/x", "dotted/y", "#not a comment", "#hash", "a/b", "last"})
    EXPECT_TRUE(ignore.ignores(path)) << path;
  for (const std::string_view path : {" spaced", "x/rooted", "dotted", "dotted/x", "a", "# a comment"})
    EXPECT_FALSE(ignore.ignores(path)) << path;
  EXPECT_TRUE(parsed("").empty());
  EXPECT_TRUE(parsed("# only\n\n").empty());
}

TEST(Ignore, TheLastMatchDecides) {
  const Ignore docs = parsed("*.md\n!README*.md\nREADME-secret.md\n");
  EXPECT_TRUE(docs.ignores("notes.md"));
  EXPECT_FALSE(docs.ignores("README.md"));
  EXPECT_FALSE(docs.ignores("README-x.md"));
  EXPECT_TRUE(docs.ignores("README-secret.md"));
  const Ignore other = parsed("*.md\nREADME-secret.md\n!README*.md\n");
  EXPECT_FALSE(other.ignores("README-secret.md"));
  EXPECT_FALSE(other.ignores("dir/notes.md"));
}

TEST(Ignore, WhatMatchesADirectoryMatchesAllInIt) {
  const Ignore ignore = parsed("*\n!src\n! docs/*.md\nsrc/**/*.o\n");
  EXPECT_TRUE(ignore.ignores("target"));
  EXPECT_TRUE(ignore.ignores("target/a/b"));
  EXPECT_FALSE(ignore.ignores("src"));
  EXPECT_FALSE(ignore.ignores("src/a/main.c"));
  EXPECT_TRUE(ignore.ignores("src/a/main.o"));
  EXPECT_TRUE(ignore.ignores("docs"));
  EXPECT_TRUE(ignore.ignores("docs/a.txt"));
  EXPECT_FALSE(ignore.ignores("docs/a.md"));
  EXPECT_FALSE(parsed(".").ignores("a"));
  EXPECT_FALSE(parsed("/").ignores("a"));
  EXPECT_FALSE(parsed("../a").ignores("a"));
}

// Found by comparing with what the docker CLI sends.
TEST(Ignore, APatternThatChangesNothingForAFolderSaysNothingOfWhatIsInIt) {
  EXPECT_TRUE(parsed("**/*.log\n!src\n").ignores("src/x.log"));
  EXPECT_FALSE(parsed("**/*.log\n!src/*.log\n").ignores("src/x.log"));
  EXPECT_FALSE(parsed("*\n!src\n").ignores("src/x.log"));
  EXPECT_TRUE(parsed("*b/a.c\n!b\n").ignores("b/a.c"));
  EXPECT_FALSE(parsed("**\n!ab/a/ab\n*b\n").ignores("ab/a/ab"));
}

TEST(Ignore, TheWalksWayAgreesWithTheLongOne) {
  const Ignore ignore = parsed("*\n!a\na/b\n!a/b/**/keep\n**/*.o\n!x/**\n");
  const std::vector<std::vector<std::string>> paths = {
      {"a", "a/b", "a/b/c", "a/b/c/keep", "a/b/c/keep/z.o"}, {"x", "x/y.o"}, {"x", "x/y", "x/y/z"}, {"q", "q/keep"}};
  for (const auto& chain : paths) {
    Ignore::Matched above;
    for (const std::string& path : chain) {
      Ignore::Matched here;
      const bool alone = ignore.ignores(path, above);
      EXPECT_EQ(ignore.ignores(path, above, &here), alone) << path;
      EXPECT_EQ(ignore.ignores(path), alone) << path;
      above = here;
    }
  }
}

TEST(Ignore, KnowsWhichSubtreesHoldNoException) {
  const Ignore ignore = parsed("!**/*.md\nnode_modules\n!node_modules/keep/this\n");
  Ignore::Matched here;
  EXPECT_TRUE(ignore.ignores("node_modules", {}, &here));
  EXPECT_TRUE(ignore.may_take_back_below("node_modules", here));
  Ignore::Matched deeper;
  EXPECT_TRUE(ignore.ignores("node_modules/other", here, &deeper));
  // The exception for *.md comes before what ignores it all, and the other one leads elsewhere.
  EXPECT_FALSE(ignore.may_take_back_below("node_modules/other", deeper));
}

TEST(Ignore, ErrorsNameFileAndLine) {
  const auto bad = Ignore::parse("fine\n\n[unclosed\n", "web.dockerignore");
  ASSERT_FALSE(bad);
  EXPECT_EQ(bad.error().kind(), ErrorKind::invalid);
  EXPECT_TRUE(bad.error().text().starts_with("web.dockerignore:3: syntax error in pattern")) << bad.error().text();
  EXPECT_EQ(Ignore::parse("!\n", "f").error().text(), "f:1: illegal exclusion pattern: \"!\"");
  EXPECT_FALSE(Ignore::parse(std::string_view("a\0b", 3), "f"));
  EXPECT_FALSE(Ignore::parse(std::string(max_ignore_bytes + 1, '#'), "f"));
  std::string many;
  for (std::size_t i = 0; i <= max_ignore_patterns; ++i) many += "a\n";
  EXPECT_FALSE(Ignore::parse(many, "f"));
  EXPECT_TRUE(Ignore::of({"#hash", "*.o"}, "--exclude")->ignores("#hash"));
  EXPECT_TRUE(Ignore::of({"["}, "--exclude").error().text().starts_with("--exclude: "));
}

TEST(Ignore, WithoutKeepsTheParentsOfWhatStays) {
  Listing listing;
  for (const auto& [path, kind] : std::initializer_list<std::pair<const char*, Kind>>{{"a", Kind::directory},
                                                                                      {"a/b", Kind::directory},
                                                                                      {"a/b/keep", Kind::file},
                                                                                      {"a/b/x", Kind::file},
                                                                                      {"a-b", Kind::file},
                                                                                      {"c", Kind::directory},
                                                                                      {"c/x", Kind::file},
                                                                                      {"d", Kind::file}})
    listing.entries.push_back({.path = path, .kind = kind});
  std::string left;
  for (const Entry& entry : without(listing, parsed("*\n!a/b/keep\n!d")).entries) left += entry.path + " ";
  EXPECT_EQ(left, "a a/b a/b/keep d ");
}

TEST(Listing, OrderFindAndBelow) {
  Listing listing;
  for (const char* path : {"a", "a/b", "a/b/c", "a/bb", "a-b", "a.b", "aa", "b"})
    listing.entries.push_back({.path = path});
  for (std::size_t i = 0; i + 1 < listing.entries.size(); ++i) {
    EXPECT_TRUE(path_before(listing.entries[i].path, listing.entries[i + 1].path)) << listing.entries[i].path;
    EXPECT_FALSE(path_before(listing.entries[i + 1].path, listing.entries[i].path)) << listing.entries[i].path;
  }
  EXPECT_FALSE(path_before("a", "a"));
  EXPECT_EQ(listing.find("a/bb")->path, "a/bb");
  EXPECT_EQ(listing.find("a/c"), nullptr);
  EXPECT_EQ(listing.find(""), nullptr);
  EXPECT_EQ(listing.below(""), std::pair(std::size_t{0}, std::size_t{8}));
  EXPECT_EQ(listing.below("a"), std::pair(std::size_t{1}, std::size_t{4}));
  EXPECT_EQ(listing.below("a/b"), std::pair(std::size_t{2}, std::size_t{3}));
  EXPECT_EQ(listing.below("b"), std::pair(std::size_t{8}, std::size_t{8}));
  EXPECT_EQ(listing.below("zz"), std::pair(std::size_t{8}, std::size_t{8}));
  EXPECT_TRUE(path_before("a\x7f", "a\xff"));
}

}  // namespace
}  // namespace corten::context
