#include "shim/loop.h"

#include <sys/epoll.h>

#include <algorithm>
#include <array>

namespace corten::shim {
namespace {

constexpr std::chrono::milliseconds idle_time{1000};

}  // namespace

Result<std::unique_ptr<Loop>> Loop::create() {
  UniqueFd epoll(::epoll_create1(EPOLL_CLOEXEC));
  if (!epoll) return sys_fail("make an epoll descriptor");
  return std::unique_ptr<Loop>(new Loop(std::move(epoll)));
}

Result<> Loop::watch(int fd, std::uint32_t events, Handler& handler) {
  const auto index = static_cast<std::size_t>(fd);
  if (index >= slots_.size()) slots_.resize(index + 1);
  Slot& slot = slots_[index];
  if (slot.handler == &handler && slot.events == events) return {};
  const int operation = slot.handler != nullptr ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
  if (slot.handler == nullptr) ++slot.generation;
  epoll_event event{events, {.u64 = (std::uint64_t{slot.generation} << 32U) | static_cast<std::uint32_t>(fd)}};
  if (::epoll_ctl(epoll_.get(), operation, fd, &event) != 0) return sys_fail("watch descriptor {}", fd);
  slot.handler = &handler;
  slot.events = events;
  return {};
}

void Loop::unwatch(int fd) {
  const auto index = static_cast<std::size_t>(fd);
  if (fd < 0 || index >= slots_.size() || slots_[index].handler == nullptr) return;
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
  slots_[index].handler = nullptr;
  ++slots_[index].generation;
}

Loop::TimerId Loop::after(std::chrono::milliseconds delay, std::function<void()> call) {
  timers_.push_back({next_timer_, std::chrono::steady_clock::now() + delay, std::move(call)});
  return next_timer_++;
}

void Loop::cancel(TimerId id) {
  std::erase_if(timers_, [id](const Timer& timer) { return timer.id == id; });
}

int Loop::wait_time(bool busy) const {
  std::int64_t wait = busy ? idle_time.count() : -1;
  const auto now = std::chrono::steady_clock::now();
  for (const auto& timer : timers_) {
    const auto left = std::max<std::int64_t>(0, std::chrono::ceil<std::chrono::milliseconds>(timer.at - now).count());
    if (wait < 0 || left < wait) wait = left;
  }
  return static_cast<int>(wait);
}

bool Loop::run_timers() {
  bool ran = false;
  const auto now = std::chrono::steady_clock::now();
  for (;;) {
    const auto due =
        std::find_if(timers_.begin(), timers_.end(), [now](const Timer& timer) { return timer.at <= now; });
    if (due == timers_.end()) return ran;
    auto call = std::move(due->call);
    timers_.erase(due);
    call();
    ran = true;
  }
}

void Loop::run_deferred() {
  while (!deferred_.empty()) {
    auto calls = std::move(deferred_);
    deferred_.clear();
    for (auto& call : calls) call();
  }
}

void Loop::run() {
  std::array<epoll_event, 16> events;
  bool busy = true;
  run_deferred();
  while (!stopping_) {
    const int count = ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), wait_time(busy));
    for (int i = 0; i < count; ++i) {
      const auto& event = events[static_cast<std::size_t>(i)];
      const Slot slot = slots_[event.data.u64 & 0xffffffffU];
      if (slot.handler != nullptr && slot.generation == event.data.u64 >> 32U) slot.handler->on_ready(event.events);
    }
    const bool timer_ran = run_timers();
    run_deferred();
    if (count > 0 || timer_ran) {
      busy = true;
    } else if (busy && count == 0) {
      busy = false;
      if (idle_call_) idle_call_();
    }
  }
}

}  // namespace corten::shim
