// epoll, eventfd, signalfd and timerfd with owners. All close-on-exec and, but for epoll, non-blocking.
#pragma once

#include <signal.h>

#include <chrono>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <vector>

#include "base/error.h"
#include "base/unique_fd.h"

namespace corten::sys {

class Epoll {
 public:
  static Result<Epoll> create();
  // `events` are EPOLL*; `token` comes back with the event.
  Result<> add(int fd, std::uint32_t events, std::uint64_t token);
  Result<> modify(int fd, std::uint32_t events, std::uint64_t token);
  Result<> remove(int fd);
  struct Event {
    std::uint32_t events = 0;
    std::uint64_t token = 0;
  };
  // Up to 64 events into `out` (cleared first). A negative timeout waits for ever; EINTR gives no events.
  Result<> wait(std::vector<Event>& out, std::chrono::milliseconds timeout);
  int fd() const { return fd_.get(); }

 private:
  explicit Epoll(UniqueFd fd) : fd_(std::move(fd)) {}
  UniqueFd fd_;
};

Result<UniqueFd> make_eventfd();
Result<> eventfd_signal(int fd);
// The count since the last read; 0 if none.
Result<std::uint64_t> eventfd_read(int fd);

// Blocks `signals` for the thread and gives a descriptor that becomes readable instead.
Result<UniqueFd> make_signalfd(std::initializer_list<int> signals);
// The next pending signal's number, if any.
Result<std::optional<int>> signalfd_read(int fd);

// A monotonic timer, not armed.
Result<UniqueFd> make_timerfd();
// Fires once after `delay`; zero or less disarms.
Result<> timerfd_arm(int fd, std::chrono::nanoseconds delay);
Result<std::uint64_t> timerfd_read(int fd);

}  // namespace corten::sys
