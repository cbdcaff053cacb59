#include "engine/tasks.h"

#include <gtest/gtest.h>

#include <atomic>
#include <latch>

namespace corten::engine {
namespace {

using namespace std::chrono_literals;

TEST(TaskQueue, RunsEverythingBeforeItEnds) {
  std::atomic<int> done = 0;
  {
    TaskQueue queue(3, 1000);
    for (int i = 0; i < 200; ++i) queue.submit([&] { ++done; });
  }
  EXPECT_EQ(done, 200);
}

TEST(TaskQueue, ABlockedTaskHoldsUpNoOther) {
  std::latch release(1), other(1);
  TaskQueue queue(2, 1000);
  queue.submit([&] { release.wait(); });
  queue.submit([&] { other.count_down(); });
  other.wait();
  EXPECT_FALSE(queue.drain(1ms));
  release.count_down();
  EXPECT_TRUE(queue.drain(5s));
}

TEST(TaskQueue, AFullQueueMakesTheProducerWork) {
  std::latch release(1), running(1);
  TaskQueue queue(1, 1);
  queue.submit([&] {
    running.count_down();
    release.wait();
  });
  running.wait();
  queue.submit([] {});
  std::thread::id where;
  queue.submit([&] { where = std::this_thread::get_id(); });
  EXPECT_EQ(where, std::this_thread::get_id());
  release.count_down();
}

TEST(Timers, FireInOrderAndCanBeCancelled) {
  TaskQueue queue(1, 1000);
  Timers timers(queue);
  std::latch fired(2);
  std::atomic<int> order = 0, first = 0, second = 0;
  timers.after(20ms, [&] {
    second = ++order;
    fired.count_down();
  });
  timers.after(1ms, [&] {
    first = ++order;
    fired.count_down();
  });
  const auto cancelled = timers.after(5ms, [] { FAIL() << "was cancelled"; });
  EXPECT_TRUE(timers.cancel(cancelled));
  EXPECT_FALSE(timers.cancel(cancelled));
  EXPECT_FALSE(timers.cancel(0));
  fired.wait();
  EXPECT_EQ(first, 1);
  EXPECT_EQ(second, 2);
}

TEST(Timers, EndWithoutWaitingForThePending) {
  TaskQueue queue(1, 10);
  const auto begin = std::chrono::steady_clock::now();
  {
    Timers timers(queue);
    timers.after(1h, [] {});
  }
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 10s);
}

}  // namespace
}  // namespace corten::engine
