#include "engine/names.h"

#include <gtest/gtest.h>

namespace corten::engine {
namespace {

TEST(Names, GoodOnesLoseTheirSlash) {
  EXPECT_EQ(*check_name("web"), "web");
  EXPECT_EQ(*check_name("/web-1.a_b"), "web-1.a_b");
}

TEST(Names, BadOnesGetDockersText) {
  for (const std::string bad : {"", "a", "/", "-web", "_x", "we b", "a/b", "näme", "//web"}) {
    const auto result = check_name(bad);
    ASSERT_FALSE(result) << bad;
    EXPECT_EQ(result.error().kind(), ErrorKind::invalid);
    EXPECT_EQ(result.error().text(),
              "Invalid container name (" + bad + "), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed");
  }
  EXPECT_FALSE(check_name(std::string(256, 'a')));
}

TEST(Names, MadeUpOnesAreValid) {
  for (unsigned attempt = 0; attempt < 100; ++attempt) {
    const std::string name = random_name(attempt);
    EXPECT_TRUE(check_name(name)) << name;
    EXPECT_NE(name.find('_'), std::string::npos);
  }
}

}  // namespace
}  // namespace corten::engine
