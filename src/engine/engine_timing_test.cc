// What the steps of a container's life cost. Prints; the figures that count are `make bench`'s. Run with
// --gtest_also_run_disabled_tests --gtest_filter='*Timing*'.
#include <algorithm>
#include <thread>

#include "engine/life_fixture_test.h"

namespace corten::engine {
namespace {

using Clock = std::chrono::steady_clock;

struct Series {
  std::vector<double> milliseconds;
  void add(Clock::duration duration) {
    milliseconds.push_back(std::chrono::duration<double, std::milli>(duration).count());
  }
  std::string text() {
    std::ranges::sort(milliseconds);
    return fmt::format("median {:.2f} ms, 90% {:.2f} ms, max {:.2f} ms", milliseconds[milliseconds.size() / 2],
                       milliseconds[milliseconds.size() * 9 / 10], milliseconds.back());
  }
};

class Timing : public LifeTest {};

TEST_F(Timing, DISABLED_OneAfterAnother) {
  Series create_times, start_times, wait_times;
  for (int i = 0; i < 100; ++i) {
    auto wanted = request({"true"});
    wanted.host_config.auto_remove = true;
    const auto t0 = Clock::now();
    const auto id = create(std::move(wanted));
    const auto waiter = must(engine_->register_wait(id, WaitCondition::removed));
    const auto t1 = Clock::now();
    must(engine_->start(id));
    const auto t2 = Clock::now();
    must(waiter->wait({}));
    const auto t3 = Clock::now();
    create_times.add(t1 - t0);
    start_times.add(t2 - t1);
    wait_times.add(t3 - t2);
  }
  fmt::print("create: {}\nstart:  {}\nto removed: {}\n", create_times.text(), start_times.text(), wait_times.text());
}

TEST_F(Timing, DISABLED_HundredEightAtATime) {
  for (const int parallel : {1, 8, 100}) {
    std::vector<std::string> ids(100);
    std::atomic<std::size_t> next = 0;
    const auto t0 = Clock::now();
    {
      std::vector<std::jthread> threads;
      for (int t = 0; t < parallel; ++t) {
        threads.emplace_back([&] {
          for (std::size_t i = next++; i < ids.size(); i = next++) ids[i] = run(request({"sleep", "1000"}));
        });
      }
    }
    const auto t1 = Clock::now();
    Series listing;
    for (int i = 0; i < 100; ++i) {
      const auto begin = Clock::now();
      (void)engine_->list();
      listing.add(Clock::now() - begin);
    }
    const auto t2 = Clock::now();
    for (const auto& id : ids) must(engine_->remove(id, {.force = true}));
    const auto t3 = Clock::now();
    fmt::print("{} at a time: 100 runs {:.0f} ms, 100 rm -f {:.0f} ms, list {}\n", parallel,
               std::chrono::duration<double, std::milli>(t1 - t0).count(),
               std::chrono::duration<double, std::milli>(t3 - t2).count(), listing.text());
  }
}

}  // namespace
}  // namespace corten::engine
