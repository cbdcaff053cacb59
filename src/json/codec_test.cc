#include "json/codec.h"

#include <gtest/gtest.h>

namespace corten::json {
namespace {

struct Inner {
  int number = 0;
  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit("Number", self.number);
  }
};

struct Outer {
  std::string name = "default";
  std::vector<std::string> list;
  std::map<std::string, Inner> map;
  std::optional<bool> flag;
  std::uint64_t big = 0;
  double ratio = 0;
  std::chrono::nanoseconds length{};
  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit("Name", self.name);
    visit("List", self.list, null_empty);
    visit("Map", self.map, omit_empty);
    visit("Flag", self.flag, omit_empty);
    visit("Big", self.big);
    visit("Ratio", self.ratio);
    visit("Length", self.length);
  }
};

TEST(Codec, ReadsWhatGoReads) {
  const auto outer = from_text<Outer>(
      R"({"name":null,"LIST":["a"],"Map":{"x":{"Number":3},"y":null},"Flag":false,"Big":18446744073709551615,"Unknown":[1]})");
  ASSERT_TRUE(outer) << outer.error().text();
  EXPECT_EQ(outer->name, "default");
  EXPECT_EQ(outer->list, std::vector<std::string>{"a"});
  EXPECT_EQ(outer->map.at("x").number, 3);
  EXPECT_EQ(outer->map.at("y").number, 0);
  EXPECT_EQ(outer->flag, false);
  EXPECT_EQ(outer->big, 18446744073709551615U);
}

TEST(Codec, WritesInTableOrder) {
  Outer outer;
  outer.ratio = 1.5;
  EXPECT_EQ(to_text(outer), R"({"Name":"default","List":null,"Big":0,"Ratio":1.5,"Length":0})");
}

TEST(Codec, NamesTheFieldThatIsWrong) {
  EXPECT_EQ(from_text<Outer>(R"({"Map":{"x":{"Number":"3"}}})").error().text(),
            "invalid JSON: Map.x.Number: want an integer, got a string");
  EXPECT_EQ(from_text<Outer>(R"({"Big":-1})").error().text(), "invalid JSON: Big: -1 is out of range");
  EXPECT_EQ(from_text<Outer>(R"({"Map":{"x":{"Number":3000000000}}})").error().text(),
            "invalid JSON: Map.x.Number: 3000000000 is out of range");
  for (const char* text : {"", "{", "[]", "1", "{} x", R"({"List":{}})", R"({"Flag":1})", R"({"Name":7})"})
    EXPECT_EQ(from_text<Outer>(text).error().kind(), ErrorKind::invalid) << text;
}

TEST(Codec, RefusesDeepNesting) {
  EXPECT_FALSE(parse(std::string(100000, '[')));
  EXPECT_TRUE(parse(std::string(50, '[') + std::string(50, ']')));
}

TEST(Codec, WritesUtf8WhateverTheBytes) {
  const auto written = [](std::string_view bytes) { return write(Value(boost::json::string(bytes))); };
  const std::string bad = "\xEF\xBF\xBD";
  EXPECT_EQ(written("gr\xC3\xBC\xC3\x9F \xF0\x9F\x90\xB3"), "\"gr\xC3\xBC\xC3\x9F \xF0\x9F\x90\xB3\"");
  EXPECT_EQ(written("a\xFF"
                    "b"),
            "\"a" + bad + "b\"");
  EXPECT_EQ(written("\xC3"), "\"" + bad + "\"");                                // cut off
  EXPECT_EQ(written("\xC0\x80"), "\"" + bad + bad + "\"");                      // overlong
  EXPECT_EQ(written("\xED\xA0\x80"), "\"" + bad + bad + bad + "\"");            // half of a surrogate pair
  EXPECT_EQ(written("\xF4\x90\x80\x80"), "\"" + bad + bad + bad + bad + "\"");  // beyond the last character
  const std::string keyed = write(Object{{"k\xFE", 1}});
  EXPECT_EQ(keyed, "{\"k" + bad + "\":1}");
  EXPECT_TRUE(parse(keyed));
  EXPECT_TRUE(parse(write_pretty(Object{{"k\xFE", "\xFE"}})));
}

TEST(Codec, EscapesEveryAsciiCharacterAsItMust) {
  std::string all;
  for (int c = 0; c < 0x80; ++c) all += static_cast<char>(c);
  const std::string written = write(Value(boost::json::string(all)));
  EXPECT_EQ(written, boost::json::serialize(boost::json::string(all)));
  EXPECT_EQ(parse(written)->as_string(), all);
  EXPECT_EQ(write(Value("")), R"("")");
}

TEST(Codec, RefusesIntegersThatDoNotFit) {
  for (const auto* text : {R"({"Number":1e30})", R"({"Number":-1e30})", R"({"Number":2147483648})", R"({"Number":1.5})",
                           R"({"Number":9223372036854775808})"})
    EXPECT_FALSE(from_text<Inner>(text)) << text;
  EXPECT_EQ(from_text<Inner>(R"({"Number":1e3})")->number, 1000);
}

}  // namespace
}  // namespace corten::json
