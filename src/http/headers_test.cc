#include "http/headers.h"

#include <gmock/gmock.h>

namespace corten::http {
namespace {

using testing::ElementsAre;
using testing::Optional;

TEST(Headers, ComparesNamesWithoutCase) {
  Headers headers{{"Content-Type", "a"}, {"X-One", "1"}};
  EXPECT_THAT(headers.get("content-TYPE"), Optional(std::string_view("a")));
  headers.set("x-one", "2");
  EXPECT_THAT(headers.get("X-One"), Optional(std::string_view("2")));
  EXPECT_EQ(headers.size(), 2u);
  EXPECT_FALSE(headers.has("X-On"));
}

TEST(Headers, FindsTokensInListsOverSeveralLines) {
  const Headers headers{{"Connection", "keep-alive, Upgrade"}, {"connection", " TE "}};
  EXPECT_TRUE(headers.has_token("Connection", "upgrade"));
  EXPECT_TRUE(headers.has_token("Connection", "te"));
  EXPECT_FALSE(headers.has_token("Connection", "close"));
  EXPECT_FALSE(headers.has_token("Connection", "keep"));
}

TEST(Query, DecodesInOrder) {
  const auto query = Query::parse("a=1&b=x%20y+z&a=2&flag&&=empty");
  ASSERT_TRUE(query);
  EXPECT_THAT(query->all("a"), ElementsAre("1", "2"));
  EXPECT_THAT(query->get("b"), Optional(std::string_view("x y z")));
  EXPECT_THAT(query->get("flag"), Optional(std::string_view("")));
  EXPECT_EQ(query->get_or("none", "fallback"), "fallback");
  EXPECT_EQ(query->get_or("flag", "fallback"), "");
}

TEST(Query, RoundTrips) {
  Query query;
  query.add("filters", R"({"label":["a=b&c"]})");
  query.add("ö", "%+ ");
  const auto encoded = query.encode();
  ASSERT_TRUE(encoded.starts_with('?'));
  const auto again = Query::parse(encoded.substr(1));
  ASSERT_TRUE(again);
  EXPECT_THAT(again->get("filters"), Optional(std::string_view(R"({"label":["a=b&c"]})")));
  EXPECT_THAT(again->get("ö"), Optional(std::string_view("%+ ")));
  EXPECT_EQ(Query().encode(), "");
}

TEST(Query, RefusesBrokenInput) {
  for (const auto* raw : {"a=%", "a=%4", "%zz=1", "a=%00", "a=%4g"}) {
    const auto query = Query::parse(raw);
    ASSERT_FALSE(query) << raw;
    EXPECT_EQ(query.error().kind(), ErrorKind::invalid);
  }
  std::string many;
  for (int i = 0; i < 1001; ++i) many += "a&";
  EXPECT_FALSE(Query::parse(many));
}

TEST(PercentEncoding, LeavesPlusAloneInPaths) {
  EXPECT_EQ(*percent_decode("/a+b%2Fc"), "/a+b/c");
  EXPECT_EQ(percent_encode("a/b c", "/"), "a/b%20c");
  EXPECT_EQ(percent_encode("a/b"), "a%2Fb");
}

TEST(Base64, Pads) {
  EXPECT_EQ(base64_encode(""), "");
  EXPECT_EQ(base64_encode("f"), "Zg==");
  EXPECT_EQ(base64_encode("fo"), "Zm8=");
  EXPECT_EQ(base64_encode("foo\xFF"), "Zm9v/w==");
}

}  // namespace
}  // namespace corten::http
