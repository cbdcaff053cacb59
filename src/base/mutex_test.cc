#include "base/mutex.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

#include "base/shared_mutex.h"

namespace corten {
namespace {

using namespace std::chrono_literals;

class Counter {
 public:
  void add() EXCLUDES(mutex_) {
    const MutexLock lock(mutex_);
    ++value_;
    changed_.notify_all();
  }
  int wait_for(int wanted) {
    MutexLock lock(mutex_);
    changed_.wait(lock, [&]() REQUIRES(mutex_) { return value_ >= wanted; });
    return value_;
  }
  bool wait_at_most(std::chrono::milliseconds limit) {
    MutexLock lock(mutex_);
    return changed_.wait_for(lock, limit, [this]() REQUIRES(mutex_) { return value_ > 0; });
  }
  // Lets others in while the lock is let go.
  int add_beside() {
    MutexLock lock(mutex_);
    const int before = value_;
    lock.unlock();
    std::jthread([this] { add(); }).join();
    lock.lock();
    return value_ - before;
  }

 private:
  Mutex mutex_;
  CondVar changed_;
  int value_ GUARDED_BY(mutex_) = 0;
};

TEST(Mutex, KeepsThreadsApartAndWakesThem) {
  Counter counter;
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 4; ++i)
      threads.emplace_back([&] {
        for (int n = 0; n < 1000; ++n) counter.add();
      });
    EXPECT_GE(counter.wait_for(4000), 4000);
  }
  EXPECT_EQ(counter.wait_for(4000), 4000);
}

TEST(Mutex, WaitsNoLongerThanAsked) {
  Counter counter;
  EXPECT_FALSE(counter.wait_at_most(5ms));
  counter.add();
  EXPECT_TRUE(counter.wait_at_most(10s));
}

TEST(Mutex, IsLetGoAndTakenAgain) { EXPECT_EQ(Counter().add_beside(), 1); }

TEST(Mutex, TryLockSaysWhetherItIsHeld) {
  Mutex mutex;
  if (!mutex.try_lock()) FAIL() << "a free lock is not to be had";
  std::jthread([&] { EXPECT_FALSE(mutex.try_lock()); }).join();
  mutex.unlock();
}

TEST(StopCondVar, AStopEndsAWait) {
  Mutex mutex;
  StopCondVar changed;
  bool answer = true;
  {
    const std::jthread waiter([&](const std::stop_token& stop) {
      MutexLock lock(mutex);
      answer = changed.wait(lock, stop, [] { return false; });
    });
  }
  EXPECT_FALSE(answer);
}

TEST(SharedMutex, ReadersAreInTogetherAndAWriterAlone) {
  SharedMutex mutex;
  int value = 0;
  {
    const ReadLock here(mutex);
    std::jthread([&] { const ReadLock there(mutex); }).join();
  }
  std::jthread([&] {
    const WriteLock lock(mutex);
    ++value;
  }).join();
  const ReadLock lock(mutex);
  EXPECT_EQ(value, 1);
}

}  // namespace
}  // namespace corten
