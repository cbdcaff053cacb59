#include "dockerfile/expand.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

namespace corten::dockerfile {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

using Variables = std::map<std::string, std::string, std::less<>>;

Lookup lookup(const Variables& variables) {
  return [&variables](std::string_view name) -> std::optional<std::string> {
    const auto found = variables.find(name);
    return found == variables.end() ? std::nullopt : std::optional(found->second);
  };
}

const Variables& usual() {
  static const Variables variables = {{"A", "apple"},     {"E", ""},
                                      {"F", "xxyy"},      {"P", "/tmp/tmp/bar.tar.gz"},
                                      {"W", "two words"}, {"U", "http://example.com"},
                                      {"S", "a***yy*"},   {"K", "한국어"},
                                      {"N", "/?/"}};
  return variables;
}

TEST(Expand, ModifiersAndQuotes) {
  struct Case {
    std::string_view word, want;
  };
  for (const auto& [word, want] : {
           Case{"", ""},
           Case{"plain", "plain"},
           Case{"$A", "apple"},
           Case{"${A}", "apple"},
           Case{"x$A.y", "xapple.y"},
           Case{"$AB", ""},
           Case{"${A}B", "appleB"},
           Case{"$", "$"},
           Case{"a$", "a$"},
           Case{"$.", "$."},
           Case{"$/x", "$/x"},
           Case{"$$", ""},    // the shell's process number: never set here
           Case{"$$A", "A"},  // as well
           Case{"$1x", "x"},  // positional, never set
           Case{"$12x", "x"},
           Case{"${1}", ""},
           Case{"$?", ""},
           Case{"\\$A", "$A"},
           Case{"\\\\$A", "\\apple"},
           Case{"\\a", "a"},
           Case{"a\\", "a"},
           Case{"'$A'", "$A"},
           Case{"'a\\'", "a\\"},
           Case{"\"$A\"", "apple"},
           Case{"\"\\$A\"", "$A"},
           Case{"\"a\\b\"", "a\\b"},
           Case{"\"a\\\"b\"", "a\"b"},
           Case{"\"it's\"", "it's"},
           Case{"a\"b c\"d", "ab cd"},
           Case{"a b", "a b"},
           // defaults
           Case{"${A:-d}", "apple"},
           Case{"${E:-d}", "d"},
           Case{"${X:-d}", "d"},
           Case{"${A-d}", "apple"},
           Case{"${E-d}", ""},
           Case{"${X-d}", "d"},
           Case{"${X:-}", ""},
           Case{"${X:-$A}", "apple"},
           Case{"${X:-${Y:-$A}s}", "apples"},
           Case{"${X:-\"a } b\"}", "a } b"},
           Case{"${X:-'}'}", "}"},
           Case{"${X:-\\}}", "}"},
           Case{"\"${X:-a}\"", "a"},
           Case{"${A:+d}", "d"},
           Case{"${E:+d}", ""},
           Case{"${X:+d}", ""},
           Case{"${A+d}", "d"},
           Case{"${E+d}", "d"},
           Case{"${X+d}", ""},
           Case{"${A:+-$A}", "-apple"},
           Case{"${A:?no}", "apple"},
           Case{"${A?no}", "apple"},
           Case{"${E?no}", ""},
           Case{"${A:-${X:?not looked at}}", "apple"},
           // pieces of a value
           Case{"${F#x}", "xyy"},
           Case{"${F#*x}", "xyy"},
           Case{"${F##*x}", "yy"},
           Case{"${F#*x*y}", "y"},
           Case{"${F##*x*y}", ""},
           Case{"${F#*}", "xxyy"},
           Case{"${F##*}", ""},
           Case{"${F#}", "xxyy"},
           Case{"${F##}", "xxyy"},
           Case{"${F#y}", "xxyy"},
           Case{"${F#$E}", "xxyy"},
           Case{"${F#?}", "xyy"},
           Case{"${F%y}", "xxy"},
           Case{"${F%y*}", "xxy"},
           Case{"${F%%y*}", "xx"},
           Case{"${F%%*}", ""},
           Case{"${F%x}", "xxyy"},
           Case{"${P##*/}", "bar.tar.gz"},
           Case{"${P%/*}", "/tmp/tmp"},
           Case{"${P%%.*}", "/tmp/tmp/bar"},
           Case{"${S%%\\**\\*}", "a"},
           Case{"${S%\\*}", "a***yy"},
           Case{"${K#?}", "국어"},
           Case{"${K%?}", "한국"},
           Case{"${K%??}", "한"},
           Case{"${X#a}", ""},
           // replacements
           Case{"${F/x/-}", "-xyy"},
           Case{"${F//x/-}", "--yy"},
           Case{"${F/x*/-}", "-"},
           Case{"${F/q/-}", "xxyy"},
           Case{"${F//[x]/-}", "xxyy"},
           Case{"${P//\\/tmp/}", "/bar.tar.gz"},
           Case{"${P/\\/tmp/}", "/tmp/bar.tar.gz"},
           Case{"${U/http:\\/\\//https:\\/\\/}", "https:\\/\\/example.com"},
           Case{"${F/$E/ww}", "wwxxyy"},
           Case{"${F///}", "xxyy"},
           Case{"${X///}", ""},
           Case{"${K/국/-}", "한-어"},
       }) {
    const auto found = expand(word, lookup(usual()));
    ASSERT_TRUE(found) << word << ": " << found.error().text();
    EXPECT_EQ(found->text, want) << word;
  }
}

TEST(Expand, SaysWhatIsWrong) {
  struct Case {
    std::string_view word, why;
  };
  for (const auto& [word, why] : {
           Case{"'a", "unexpected end of statement while looking for matching single-quote"},
           Case{"\"a", "unexpected end of statement while looking for matching double-quote"},
           Case{"\"a\\", "unexpected end of statement while looking for matching double-quote"},
           Case{"${", "syntax error: missing '}'"},
           Case{"${A", "syntax error: missing '}'"},
           Case{"${A:-x", "syntax error: missing '}'"},
           Case{"${A:-${B}", "syntax error: missing '}'"},
           Case{"${A/x", "syntax error: missing '/' in ${}"},
           Case{"${A//x}", "syntax error: missing '/' in ${}"},
           Case{"${A/x/y", "syntax error: missing '}'"},
           Case{"${}", "syntax error: bad substitution"},
           Case{"${:x}", "syntax error: bad substitution"},
           Case{"${{A}}", "syntax error: bad substitution"},
           Case{"${A=x}", "unsupported modifier (=) in substitution"},
           Case{"${A:=x}", "unsupported modifier (:=) in substitution"},
           Case{"${A^^}", "unsupported modifier (^) in substitution"},
           Case{"${ A}", "unsupported modifier ( ) in substitution"},
           Case{"${A:}", "unsupported modifier (:}) in substitution"},
           Case{"${A#\\x}", "invalid pattern (\\x) in substitution: invalid escape '\\x'"},
           Case{"${X:?}", "X: is not allowed to be unset"},
           Case{"${X?}", "X: is not allowed to be unset"},
           Case{"${E:?}", "E: is not allowed to be empty"},
           Case{"${X:?say $A}", "X: say apple"},
           Case{"${X:-${Y:?inner}}", "Y: inner"},
       }) {
    const auto found = expand(word, lookup(usual()));
    ASSERT_FALSE(found) << word << " gave " << found->text;
    EXPECT_EQ(found.error().kind(), ErrorKind::invalid);
    EXPECT_THAT(found.error().text(), HasSubstr("failed to process \"")) << word;
    EXPECT_TRUE(found.error().text().ends_with(why)) << word << ": " << found.error().text();
  }
}

TEST(Expand, TellsWhichVariablesWereUsedAndMissed) {
  const auto found = expand("$A ${X} ${Y:-$Z} ${E:+$Q} ${F#$M}", lookup(usual()));
  ASSERT_TRUE(found) << found.error().text();
  EXPECT_THAT(found->used, ElementsAre("A", "E", "F", "M", "Q", "X", "Y", "Z"));
  // Y has a default; Q stands in a word that is thrown away.
  EXPECT_THAT(found->unset, ElementsAre("M", "X", "Z"));
}

TEST(Expand, WordsComeFromBlanksThatAreNotQuoted) {
  const auto words = [](std::string_view text) {
    auto found = expand_words(text, lookup(usual()));
    return found ? *found : std::vector<std::string>{found.error().text()};
  };
  EXPECT_THAT(words("a  b\tc "), ElementsAre("a", "b", "c"));
  EXPECT_THAT(words("$W x"), ElementsAre("two", "words", "x"));
  EXPECT_THAT(words("\"$W\" x"), ElementsAre("two words", "x"));
  EXPECT_THAT(words("a'b c'd"), ElementsAre("ab cd"));
  EXPECT_THAT(words("a\\ b c"), ElementsAre("a b", "c"));
  EXPECT_THAT(words("$X"), IsEmpty());
  EXPECT_THAT(words("${X:-1 2} 3"), ElementsAre("1", "2", "3"));
  EXPECT_THAT(words("$A$A"), ElementsAre("appleapple"));
}

TEST(Expand, OtherEscapeAndKeptQuotes) {
  EXPECT_EQ(expand("`$A\\$A", lookup(usual()), {.escape = '`'})->text, "$A\\apple");
  EXPECT_EQ(expand("C:\\x`\"", lookup(usual()), {.escape = '`'})->text, "C:\\x\"");
  EXPECT_EQ(expand("\"$A\" '$A'", lookup(usual()), {.keep_quotes = true})->text, "\"apple\" '$A'");
}

TEST(Expand, HeredocsKnowNoQuotes) {
  const auto body = [](std::string_view text) { return expand_heredoc(text, lookup(usual()))->text; };
  EXPECT_EQ(body("it's \"$A\"\n"), "it's \"apple\"\n");
  EXPECT_EQ(body("\\$A \\\\\n"), "$A \\\n");
  EXPECT_EQ(body("'$A'\n"), "'apple'\n");
}

TEST(Expand, IsBounded) {
  const std::string big(700'000, 'x');
  const Variables variables = {{"B", big}, {"X", std::string(20'000, 'a')}};
  EXPECT_TRUE(expand("$B", lookup(variables)));
  EXPECT_THAT(expand("$B$B", lookup(variables)).error().text(), HasSubstr("the result is larger than 1 MiB"));
  std::string deep;
  for (int i = 0; i < 100'000; ++i) deep += "${a:-";
  EXPECT_THAT(expand(deep, lookup(variables)).error().text(), HasSubstr("64 levels deep"));
  // Each place of the value would be looked at up to its end.
  EXPECT_THAT(expand("${X//a*b/}", lookup(variables)).error().text(), HasSubstr("too costly"));
  EXPECT_TRUE(expand("${X//a/b}", lookup(variables)));
  EXPECT_EQ(expand("${X##*a}", lookup(variables))->text, "");
}

}  // namespace
}  // namespace corten::dockerfile
