#include "context/glob.h"

#include <gtest/gtest.h>

#include <chrono>

namespace corten::context {
namespace {

bool matches(std::string_view pattern, std::string_view path, Glob::Rules rules) {
  const auto glob = Glob::compile(pattern, rules);
  EXPECT_TRUE(glob) << pattern << ": " << glob.error().text();
  return glob && glob->matches(path);
}

TEST(Glob, PlainIsPathMatch) {
  struct Case {
    std::string_view pattern, path;
    bool match;
  };
  for (const auto& [pattern, path, match] : std::initializer_list<Case>{{"abc", "abc", true},
                                                                        {"*", "abc", true},
                                                                        {"*c", "abc", true},
                                                                        {"a*", "a", true},
                                                                        {"a*", "ab/c", false},
                                                                        {"a*/b", "abc/b", true},
                                                                        {"a*/b", "a/c/b", false},
                                                                        {"a*b*c*d*e*/f", "axbxcxdxe/f", true},
                                                                        {"a*b*c*d*e*/f", "axbxcxdxexxx/fff", false},
                                                                        {"a*b?c*x", "abxbbxdbxebxczzx", true},
                                                                        {"a*b?c*x", "abxbbxdbxebxczzy", false},
                                                                        {"ab[c]", "abc", true},
                                                                        {"ab[b-d]", "abc", true},
                                                                        {"ab[e-g]", "abc", false},
                                                                        {"ab[^c]", "abc", false},
                                                                        {"ab[^e-g]", "abc", true},
                                                                        {"a\\*b", "a*b", true},
                                                                        {"a\\*b", "ab", false},
                                                                        {"a?b",
                                                                         "a\xe2\x98\xba"
                                                                         "b",
                                                                         true},
                                                                        {"a[^a]b",
                                                                         "a\xe2\x98\xba"
                                                                         "b",
                                                                         true},
                                                                        {"a???b",
                                                                         "a\xe2\x98\xba"
                                                                         "b",
                                                                         false},
                                                                        {"[a-\xce\xb6]*", "\xce\xb1", true},
                                                                        {"*[a-\xce\xb6]", "A", false},
                                                                        {"a?b", "a/b", false},
                                                                        {"a[^x]b", "a/b", false},
                                                                        {"a*b", "a/b", false},
                                                                        {"[\\]a]", "]", true},
                                                                        {"[\\-]", "-", true},
                                                                        {"[x\\-]", "z", false},
                                                                        {"[\\-x]", "x", true},
                                                                        {"*x", "xxx", true},
                                                                        {"**", "a/b", false},
                                                                        {"**", "ab", true},
                                                                        {"a]", "a]", true},
                                                                        {"", "", true},
                                                                        {"", "a", false},
                                                                        {"\xff?", "\xff\xfe", true},
                                                                        {"[d-a]", "b", false},
                                                                        {"a", "a\xff", false},
                                                                        {"caf\xc3\xa9*", "caf\xc3\xa9.txt", true}})
    EXPECT_EQ(matches(pattern, path, Glob::Rules::plain), match) << pattern << " on " << path;
}

TEST(Glob, DeepIsTheFieldsDoubleStar) {
  struct Case {
    std::string_view pattern, path;
    bool match;
  };
  for (const auto& [pattern, path, match] : std::initializer_list<Case>{{"**", "file", true},
                                                                        {"**/", "file", true},
                                                                        {"**/**", "dir/file", true},
                                                                        {"dir/**", "dir/file", true},
                                                                        {"dir/**", "dir/a/b", true},
                                                                        {"dir/**", "dir", false},
                                                                        {"**/dir", "dir", true},
                                                                        {"**/dir", "a/b/dir", true},
                                                                        {"**/dir", "adir", false},
                                                                        {"**file", "dir/file", true},
                                                                        {"**file", "afile", true},
                                                                        {"**/file*", "dir/dir/file.txt", true},
                                                                        {"**/file*txt", "a/file.txt", true},
                                                                        {"**/**/*.txt", "file.txt", true},
                                                                        {"**/**/*.txt2", "dir/dir/file.txt", false},
                                                                        {"a**/*.txt", "a/dir/dir/file.txt", true},
                                                                        {"a**/*.txt", "a/file.txt", true},
                                                                        {"a/*.txt", "a/dir/file.txt", false},
                                                                        {"a/*.txt**", "a/file.txt", true},
                                                                        {"a/**/b", "a/b", true},
                                                                        {"a/**/b", "a/x/y/b", true},
                                                                        {"a/**/b", "a/xb", false},
                                                                        {"a/**/b/**/c", "a/b/c", true},
                                                                        {"a/**/b/**/c", "a/1/2/b/3/c", true},
                                                                        {"a/**/b/**/c", "a/1/2/3/c", false},
                                                                        {"**/.foo", ".foo", true},
                                                                        {"**/.foo", "bar.foo", false},
                                                                        {"a(b)c/def", "a(b)c/def", true},
                                                                        {"a.|)$(}+{bc", "a.|)$(}+{bc", true},
                                                                        {"abc.def", "abcZdef", false},
                                                                        {"a\\*\\*", "a**", true},
                                                                        {"a\\*\\*", "ab/c", false}})
    EXPECT_EQ(matches(pattern, path, Glob::Rules::deep), match) << pattern << " on " << path;
}

TEST(Glob, RefusesBadPatterns) {
  for (const std::string_view pattern : {"[", "[]", "[]a]", "[^]", "a[", "[a", "[a-]", "[-]", "[x-]", "[-x]", "[a-b-c]",
                                         "\\", "a\\", "[\\", "[a\\", "**[", "**/[a"})
    for (const Glob::Rules rules : {Glob::Rules::plain, Glob::Rules::deep}) {
      const auto glob = Glob::compile(pattern, rules);
      ASSERT_FALSE(glob) << pattern;
      EXPECT_EQ(glob.error().kind(), ErrorKind::invalid);
      EXPECT_NE(glob.error().text().find("syntax error in pattern"), std::string::npos) << glob.error().text();
    }
  EXPECT_FALSE(Glob::compile(std::string(5000, 'a'), Glob::Rules::plain));
}

TEST(Glob, TellsWhetherSomethingBelowMayMatch) {
  const auto below = [](std::string_view pattern, std::string_view directory) {
    return Glob::compile(pattern, Glob::Rules::deep)->may_match_below(directory);
  };
  EXPECT_TRUE(below("src/main.c", "src"));
  EXPECT_TRUE(below("src/main.c", ""));
  EXPECT_FALSE(below("src/main.c", "sr"));
  EXPECT_FALSE(below("src/main.c", "src/lib"));
  EXPECT_FALSE(below("src", "src"));
  EXPECT_FALSE(below("src", "node_modules"));
  EXPECT_TRUE(below("*/main.c", "lib"));
  EXPECT_FALSE(below("*/main.c", "lib/x"));
  EXPECT_TRUE(below("**/main.c", "lib/x/y"));
  EXPECT_TRUE(below("a/**", "a/b"));
  EXPECT_FALSE(below("a/**", "b"));
  EXPECT_FALSE(below("s*/x", "lib"));
}

TEST(Glob, HeadAndLiteral) {
  EXPECT_TRUE(Glob::compile("a\\*b", Glob::Rules::plain)->literal());
  EXPECT_EQ(Glob::compile("a\\*b", Glob::Rules::plain)->head(), "a*b");
  const auto glob = Glob::compile("src/caf\xc3\xa9/*.c", Glob::Rules::plain);
  EXPECT_FALSE(glob->literal());
  EXPECT_EQ(glob->head(), "src/caf\xc3\xa9/");
  EXPECT_TRUE(has_wildcards("a*"));
  EXPECT_TRUE(has_wildcards("[a"));
  EXPECT_FALSE(has_wildcards("a\\*\\?\\["));
  EXPECT_FALSE(has_wildcards("a\\"));
}

TEST(Glob, NoPatternTakesLong) {
  std::string stars, deep;
  for (int i = 0; i < 400; ++i) {
    stars += "*a";
    deep += "**/a";
  }
  const std::string path(4000, 'a');
  std::string slashes;
  for (int i = 0; i < 2000; ++i) slashes += "a/";
  const auto start = std::chrono::steady_clock::now();
  EXPECT_FALSE(matches(stars + "b*", path + "c", Glob::Rules::plain));
  EXPECT_FALSE(matches(deep + "b?", slashes + "c", Glob::Rules::deep));
  // Backtracking would need longer than the sun has.
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(10));
}

TEST(CleanPath, IsGosClean) {
  for (const auto& [path, clean] :
       std::initializer_list<std::pair<std::string_view, std::string_view>>{{"", "."},
                                                                            {"abc", "abc"},
                                                                            {"abc/def", "abc/def"},
                                                                            {".", "."},
                                                                            {"..", ".."},
                                                                            {"../..", "../.."},
                                                                            {"/abc", "/abc"},
                                                                            {"/", "/"},
                                                                            {"abc/", "abc"},
                                                                            {"abc//def//", "abc/def"},
                                                                            {"//abc", "/abc"},
                                                                            {"abc/./def", "abc/def"},
                                                                            {"./abc", "abc"},
                                                                            {"abc/def/..", "abc"},
                                                                            {"abc/../..", ".."},
                                                                            {"/abc/../../x", "/x"},
                                                                            {"abc/../../../jkl", "../../jkl"},
                                                                            {"../a/../b", "../b"}})
    EXPECT_EQ(clean_path(path), clean) << path;
}

}  // namespace
}  // namespace corten::context
