#include "http/poller.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>

#include <array>
#include <cerrno>

namespace corten::http {
namespace {

constexpr Poller::Id wake_id = 0;

}  // namespace

Result<> Poller::start() {
  epoll_ = UniqueFd(::epoll_create1(EPOLL_CLOEXEC));
  if (!epoll_) return sys_fail("make an epoll descriptor");
  wake_ = UniqueFd(::eventfd(0, EFD_CLOEXEC));
  if (!wake_) return sys_fail("make an event descriptor");
  epoll_event event{.events = EPOLLIN, .data = {.u64 = wake_id}};
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, wake_.get(), &event) != 0) return sys_fail("watch an event descriptor");
  thread_ = std::thread([this] { run(); });
  return {};
}

void Poller::stop() {
  if (thread_.joinable()) {
    ::eventfd_write(wake_.get(), 1);
    thread_.join();
  }
  std::unordered_map<Id, Entry> entries;
  {
    const MutexLock lock(mutex_);
    entries.swap(entries_);
  }
}

Result<Poller::Id> Poller::add(int fd, std::uint32_t events, Callback callback) {
  return insert(fd, events, false, std::move(callback));
}

Result<Poller::Id> Poller::add_once(int fd, std::uint32_t events, Callback callback) {
  return insert(fd, events | EPOLLONESHOT, true, std::move(callback));
}

Result<Poller::Id> Poller::insert(int fd, std::uint32_t events, bool once, Callback callback) {
  auto shared = std::make_shared<Callback>(std::move(callback));
  const MutexLock lock(mutex_);
  const Id id = next_id_++;
  entries_.emplace(id, Entry{fd, once, std::move(shared)});
  epoll_event event{.events = events, .data = {.u64 = id}};
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0) {
    const int saved = errno;
    entries_.erase(id);
    return sys_fail_text(saved, "watch a socket");
  }
  return id;
}

bool Poller::remove(Id id) {
  Entry entry;  // its callback is destroyed without the lock
  const MutexLock lock(mutex_);
  const auto found = entries_.find(id);
  if (found == entries_.end()) return false;
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, found->second.fd, nullptr);
  entry = std::move(found->second);
  entries_.erase(found);
  return true;
}

void Poller::run() {
  std::array<epoll_event, 64> events{};
  for (;;) {
    const int count = ::epoll_wait(epoll_.get(), events.data(), events.size(), -1);
    if (count < 0 && errno != EINTR) return;
    for (int i = 0; i < count; ++i) {
      const Id id = events[static_cast<std::size_t>(i)].data.u64;
      if (id == wake_id) return;
      dispatch(id);
    }
  }
}

void Poller::dispatch(Id id) {
  std::shared_ptr<Callback> callback;
  {
    const MutexLock lock(mutex_);
    const auto found = entries_.find(id);
    if (found == entries_.end()) return;  // removed since the event was seen
    callback = found->second.callback;
    if (found->second.once) {
      ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, found->second.fd, nullptr);
      entries_.erase(found);
    }
  }
  (*callback)();
}

}  // namespace corten::http
