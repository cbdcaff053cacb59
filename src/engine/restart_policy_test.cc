#include "engine/restart_policy.h"

#include <gtest/gtest.h>

namespace corten::engine {
namespace {

using namespace std::chrono_literals;

TEST(Backoff, DoublesUpToAMinuteAndStartsAnew) {
  std::chrono::nanoseconds wait = next_backoff(0ns, 1s);
  EXPECT_EQ(wait, 100ms);
  EXPECT_EQ(next_backoff(wait, 1s), 200ms);
  for (int i = 0; i < 20; ++i) wait = next_backoff(wait, 1s);
  EXPECT_EQ(wait, 1min);
  EXPECT_EQ(next_backoff(wait, 10s), 100ms);
}

TEST(RestartPolicy, AfterAnExit) {
  EXPECT_FALSE(should_restart({"no", 0}, {1, 0, false, false}));
  EXPECT_TRUE(should_restart({"always", 0}, {0, 0, false, false}));
  EXPECT_FALSE(should_restart({"always", 0}, {0, 0, true, true}));
  EXPECT_TRUE(should_restart({"unless-stopped", 0}, {0, 0, false, false}));
  EXPECT_FALSE(should_restart({"unless-stopped", 0}, {0, 0, false, true}));
  EXPECT_FALSE(should_restart({"on-failure", 0}, {0, 0, false, false}));
  EXPECT_TRUE(should_restart({"on-failure", 0}, {1, 99, false, false}));
  EXPECT_TRUE(should_restart({"on-failure", 3}, {1, 2, false, false}));
  EXPECT_FALSE(should_restart({"on-failure", 3}, {1, 3, false, false}));
}

TEST(RestartPolicy, AtTheDaemonsStart) {
  EXPECT_TRUE(should_restart_at_boot({"always", 0}, {0, 0, false, true}));
  EXPECT_FALSE(should_restart_at_boot({"unless-stopped", 0}, {0, 0, false, true}));
  EXPECT_TRUE(should_restart_at_boot({"unless-stopped", 0}, {0, 0, false, false}));
  EXPECT_FALSE(should_restart_at_boot({"", 0}, {1, 0, false, false}));
}

}  // namespace
}  // namespace corten::engine
