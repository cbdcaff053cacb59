// The shim's only thread: waits for descriptors and timers, and calls whoever asked.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "base/error.h"
#include "base/unique_fd.h"

namespace corten::shim {

class Handler {
 public:
  virtual ~Handler() = default;
  virtual void on_ready(std::uint32_t events) = 0;
};

class Loop {
 public:
  using Instant = std::chrono::steady_clock::time_point;
  using TimerId = std::uint64_t;

  static Result<std::unique_ptr<Loop>> create();

  // EPOLL* events, level-triggered; EPOLLHUP and EPOLLERR always come. Also changes what is waited for. The handler
  // must stay until unwatch.
  Result<> watch(int fd, std::uint32_t events, Handler& handler);
  // Before the descriptor is closed. No event of the current round reaches the handler afterwards.
  void unwatch(int fd);

  TimerId after(std::chrono::milliseconds delay, std::function<void()> call);
  void cancel(TimerId id);
  // At the end of the current round: for an object that must not delete itself while it runs.
  void defer(std::function<void()> call) { deferred_.push_back(std::move(call)); }
  // Called once when nothing has happened for a second.
  void set_idle_call(std::function<void()> call) { idle_call_ = std::move(call); }

  void run();
  void stop() { stopping_ = true; }

 private:
  struct Slot {
    Handler* handler = nullptr;
    std::uint32_t events = 0;
    std::uint32_t generation = 0;  // tells an event of a closed descriptor from one of its number's next user
  };
  struct Timer {
    TimerId id = 0;
    Instant at;
    std::function<void()> call;
  };

  explicit Loop(UniqueFd epoll) : epoll_(std::move(epoll)) {}
  bool run_timers();
  void run_deferred();
  int wait_time(bool busy) const;

  UniqueFd epoll_;
  std::vector<Slot> slots_;  // by descriptor number
  std::vector<Timer> timers_;
  std::vector<std::function<void()>> deferred_;
  std::function<void()> idle_call_;
  TimerId next_timer_ = 1;
  bool stopping_ = false;
};

}  // namespace corten::shim
