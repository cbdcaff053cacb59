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

}  // namespace
}  // namespace corten::json
