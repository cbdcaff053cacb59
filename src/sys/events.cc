#include "sys/events.h"

#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <climits>

namespace corten::sys {
namespace {

Result<> control(int epoll, int operation, int fd, std::uint32_t events, std::uint64_t token) {
  epoll_event event{};
  event.events = events;
  event.data.u64 = token;
  if (::epoll_ctl(epoll, operation, fd, &event) != 0) return sys_fail("watch descriptor {}", fd);
  return {};
}

// eventfd and timerfd: an eight-byte count, EAGAIN for "nothing yet".
Result<std::uint64_t> read_count(int fd, const char* what) {
  std::uint64_t count = 0;
  if (::read(fd, &count, sizeof count) == static_cast<ssize_t>(sizeof count)) return count;
  if (errno == EAGAIN || errno == EINTR) return std::uint64_t{0};
  return sys_fail("read {}", what);
}

}  // namespace

Result<Epoll> Epoll::create() {
  UniqueFd fd(::epoll_create1(EPOLL_CLOEXEC));
  if (!fd) return sys_fail("make an epoll");
  return Epoll(std::move(fd));
}

Result<> Epoll::add(int fd, std::uint32_t events, std::uint64_t token) {
  return control(fd_.get(), EPOLL_CTL_ADD, fd, events, token);
}
Result<> Epoll::modify(int fd, std::uint32_t events, std::uint64_t token) {
  return control(fd_.get(), EPOLL_CTL_MOD, fd, events, token);
}
Result<> Epoll::remove(int fd) { return control(fd_.get(), EPOLL_CTL_DEL, fd, 0, 0); }

Result<> Epoll::wait(std::vector<Event>& out, std::chrono::milliseconds timeout) {
  std::array<epoll_event, 64> events;
  out.clear();
  const auto limit = static_cast<int>(std::clamp<std::int64_t>(timeout.count(), -1, INT_MAX));
  const int count = ::epoll_wait(fd_.get(), events.data(), static_cast<int>(events.size()), limit);
  if (count < 0 && errno != EINTR) return sys_fail("wait for events");
  for (int i = 0; i < count; ++i)
    out.push_back({events[static_cast<std::size_t>(i)].events, events[static_cast<std::size_t>(i)].data.u64});
  return {};
}

Result<UniqueFd> make_eventfd() {
  UniqueFd fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!fd) return sys_fail("make an eventfd");
  return fd;
}

Result<> eventfd_signal(int fd) {
  const std::uint64_t one = 1;
  // EAGAIN: the counter is full, so the reader will wake up anyway.
  if (::write(fd, &one, sizeof one) < 0 && errno != EAGAIN) return sys_fail("signal an eventfd");
  return {};
}

Result<std::uint64_t> eventfd_read(int fd) { return read_count(fd, "an eventfd"); }

Result<UniqueFd> make_signalfd(std::initializer_list<int> signals) {
  sigset_t set;
  ::sigemptyset(&set);
  for (const int signal : signals) ::sigaddset(&set, signal);
  if (const int error = ::pthread_sigmask(SIG_BLOCK, &set, nullptr); error != 0)
    return sys_fail_text(error, "block signals");
  UniqueFd fd(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!fd) return sys_fail("make a signalfd");
  return fd;
}

Result<std::optional<int>> signalfd_read(int fd) {
  signalfd_siginfo info{};
  if (::read(fd, &info, sizeof info) == static_cast<ssize_t>(sizeof info))
    return std::optional(static_cast<int>(info.ssi_signo));
  if (errno == EAGAIN || errno == EINTR) return std::optional<int>();
  return sys_fail("read a signal");
}

Result<UniqueFd> make_timerfd() {
  UniqueFd fd(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  if (!fd) return sys_fail("make a timer");
  return fd;
}

Result<> timerfd_arm(int fd, std::chrono::nanoseconds delay) {
  itimerspec spec{};
  if (delay.count() > 0) {
    spec.it_value.tv_sec = delay.count() / 1'000'000'000;
    spec.it_value.tv_nsec = delay.count() % 1'000'000'000;
  }
  if (::timerfd_settime(fd, 0, &spec, nullptr) != 0) return sys_fail("arm a timer");
  return {};
}

Result<std::uint64_t> timerfd_read(int fd) { return read_count(fd, "a timer"); }

}  // namespace corten::sys
