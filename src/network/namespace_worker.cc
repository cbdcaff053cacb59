#include "network/namespace_worker.h"

#include <fcntl.h>
#include <linux/netlink.h>
#include <sched.h>

#include <algorithm>

#include "base/cleanup.h"
#include "base/log.h"
#include "network/host_settings.h"
#include "sys/netlink_route.h"

namespace corten::network {

Result<std::unique_ptr<NamespaceWorker>> NamespaceWorker::start() {
  UniqueFd host(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
  if (!host) return sys_fail("open the host's network namespace");
  return std::unique_ptr<NamespaceWorker>(new NamespaceWorker(std::move(host)));
}

NamespaceWorker::NamespaceWorker(UniqueFd host)
    : host_(std::move(host)), thread_([this](const std::stop_token& stop) { loop(stop); }) {}

NamespaceWorker::~NamespaceWorker() = default;

void NamespaceWorker::loop(const std::stop_token& stop) {
  MutexLock lock(mutex_);
  while (!stop.stop_requested()) {
    if (!urgent_.empty()) {
      auto task = std::move(urgent_.front());
      urgent_.pop_front();
      lock.unlock();
      task();
      lock.lock();
      continue;
    }
    const auto next = std::ranges::min_element(background_, {}, &Background::when);
    if (next == background_.end()) {
      changed_.wait(lock, stop, [this]() REQUIRES(mutex_) { return !urgent_.empty() || !background_.empty(); });
      continue;
    }
    // A copy: the element may be gone while the lock is not held.
    const auto when = next->when;
    if (when > std::chrono::steady_clock::now()) {
      changed_.wait_until(lock, stop, when, [&]() REQUIRES(mutex_) {
        return !urgent_.empty() || std::ranges::any_of(background_, [&](const auto& b) { return b.when < when; });
      });
      continue;
    }
    const auto task = std::move(next->task);
    running_ = next->key;
    background_.erase(next);
    lock.unlock();
    task();
    lock.lock();
    running_ = nullptr;
    changed_.notify_all();
  }
}

Result<> NamespaceWorker::run(const std::function<Result<>()>& task) {
  std::packaged_task<Result<>()> packaged(task);
  auto result = packaged.get_future();
  {
    const MutexLock lock(mutex_);
    urgent_.push_back(std::move(packaged));
  }
  changed_.notify_all();
  return result.get();
}

void NamespaceWorker::schedule(const void* key, std::chrono::milliseconds delay, std::function<void()> task) {
  const auto when = std::chrono::steady_clock::now() + delay;
  {
    const MutexLock lock(mutex_);
    const auto old = std::ranges::find(background_, key, &Background::key);
    if (old != background_.end())
      *old = {key, when, std::move(task)};
    else
      background_.push_back({key, when, std::move(task)});
  }
  changed_.notify_all();
}

void NamespaceWorker::cancel(const void* key) {
  MutexLock lock(mutex_);
  std::erase_if(background_, [&](const Background& b) { return b.key == key; });
  if (std::this_thread::get_id() == thread_.get_id()) return;
  changed_.wait(lock, [&]() REQUIRES(mutex_) { return running_ != key; });
  std::erase_if(background_, [&](const Background& b) { return b.key == key; });
}

Result<> NamespaceWorker::back_to_host() {
  if (::setns(host_.get(), CLONE_NEWNET) == 0) return {};
  return sys_fail("return to the host's network namespace");
}

Result<NamespaceWorker::Made> NamespaceWorker::make_namespace(bool announce) {
  if (::unshare(CLONE_NEWNET) != 0) return sys_fail("make a network namespace");
  const Cleanup back([this] {
    if (const auto result = back_to_host(); !result) log::error("{}", result.error().text());
  });
  UniqueFd made(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
  if (!made) return sys_fail("open a new network namespace");
  prepare_container_namespace(true);
  if (announce) announce_addresses();
  return Made{std::move(made), TRY(sys::NetlinkSocket::open(NETLINK_ROUTE))};
}

Result<sys::NetlinkSocket> NamespaceWorker::enter_namespace(int namespace_fd, bool announce) {
  if (::setns(namespace_fd, CLONE_NEWNET) != 0) return sys_fail("enter a container's network namespace");
  const Cleanup back([this] {
    if (const auto result = back_to_host(); !result) log::error("{}", result.error().text());
  });
  auto inside = TRY(sys::NetlinkSocket::open(NETLINK_ROUTE));
  // With lo up somebody lives there already, who may have chosen settings of his own.
  prepare_container_namespace(!TRY(sys::find_link(inside, 1)).up);
  if (announce) announce_addresses();
  return inside;
}

}  // namespace corten::network
