#include "engine/events.h"

#include <gtest/gtest.h>

#include <atomic>
#include <latch>
#include <thread>
#include <vector>

namespace corten::engine {
namespace {

Event make(std::string action) {
  Event event;
  event.type = "container";
  event.action = std::move(action);
  return event;
}

TEST(EventBus, ReplaysThePastThenStopsAtUntil) {
  EventBus bus;
  bus.publish(make("create"));
  bus.publish(make("start"));
  std::vector<std::string> seen;
  const auto result = bus.listen(Timestamp{}, now(), {}, [&](const Event& event) -> Result<> {
    seen.push_back(event.action);
    return {};
  });
  ASSERT_TRUE(result);
  EXPECT_EQ(seen, (std::vector<std::string>{"create", "start"}));
}

TEST(EventBus, WithoutSinceThePastIsNotSeen) {
  EventBus bus;
  bus.publish(make("old"));
  std::stop_source stop;
  std::atomic<int> count = 0;
  std::jthread listener([&] {
    (void)bus.listen({}, {}, stop.get_token(), [&](const Event& event) -> Result<> {
      EXPECT_NE(event.action, "old");
      ++count;
      count.notify_all();
      return {};
    });
  });
  // The listener may start late: publish until it has seen something.
  while (count == 0) {
    bus.publish(make("new"));
    std::this_thread::yield();
  }
  stop.request_stop();
}

TEST(EventBus, KeepsOnlySoMany) {
  EventBus bus(3);
  for (int i = 0; i < 10; ++i) bus.publish(make(std::to_string(i)));
  std::vector<std::string> seen;
  ASSERT_TRUE(bus.listen(Timestamp{}, now(), {}, [&](const Event& event) -> Result<> {
    seen.push_back(event.action);
    return {};
  }));
  EXPECT_EQ(seen, (std::vector<std::string>{"7", "8", "9"}));
}

TEST(EventBus, SinceFiltersByTime) {
  EventBus bus;
  Event early = make("early");
  early.time = Timestamp(std::chrono::seconds(100));
  Event late = make("late");
  late.time = Timestamp(std::chrono::seconds(200));
  bus.publish(early);
  bus.publish(late);
  std::vector<std::string> seen;
  ASSERT_TRUE(bus.listen(Timestamp(std::chrono::seconds(150)), now(), {}, [&](const Event& event) -> Result<> {
    seen.push_back(event.action);
    return {};
  }));
  EXPECT_EQ(seen, std::vector<std::string>{"late"});
}

TEST(EventBus, ASlowListenerIsCutOffAndHoldsUpNobody) {
  EventBus bus(16);
  std::latch entered(1), go_on(1);
  Result<> outcome;
  bus.publish(make("first"));
  std::jthread listener([&] {
    outcome = bus.listen(Timestamp{}, {}, {}, [&](const Event&) -> Result<> {
      static std::atomic<bool> first = true;
      if (first.exchange(false)) {
        entered.count_down();
        go_on.wait();
      }
      return {};
    });
  });
  entered.wait();
  for (int i = 0; i < 11'000; ++i) bus.publish(make("x"));
  go_on.count_down();
  listener.join();
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().kind(), ErrorKind::exhausted);
}

TEST(EventBus, DeliverErrorEndsTheListening) {
  EventBus bus;
  bus.publish(make("a"));
  const auto result =
      bus.listen(Timestamp{}, {}, {}, [](const Event&) -> Result<> { return fail(ErrorKind::cancelled, "gone"); });
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().kind(), ErrorKind::cancelled);
}

}  // namespace
}  // namespace corten::engine
