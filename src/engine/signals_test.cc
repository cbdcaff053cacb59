#include <gtest/gtest.h>

#include <csignal>

#include "engine/engine.h"

namespace corten::engine {
namespace {

TEST(ParseSignal, NamesNumbersAndCase) {
  EXPECT_EQ(*parse_signal("SIGTERM"), SIGTERM);
  EXPECT_EQ(*parse_signal("term"), SIGTERM);
  EXPECT_EQ(*parse_signal("15"), SIGTERM);
  EXPECT_EQ(*parse_signal("SIGRTMIN+3"), 37);
  EXPECT_EQ(*parse_signal("rtmax-1"), 63);
}

TEST(ParseSignal, RefusesNonsense) {
  for (const char* bad : {"", "0", "-1", "65", "SIGFOO", "SIG", "15x", "RTMIN+16", "RTMAX-15", "99999999999"}) {
    const auto result = parse_signal(bad);
    ASSERT_FALSE(result) << bad;
    EXPECT_EQ(result.error().kind(), ErrorKind::invalid);
  }
  EXPECT_EQ(parse_signal("FOO").error().text(), "invalid signal: FOO");
}

}  // namespace
}  // namespace corten::engine
