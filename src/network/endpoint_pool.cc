#include "network/endpoint_pool.h"

#include <algorithm>

#include "base/log.h"

namespace corten::network {
namespace {

using namespace std::chrono_literals;

// Longer than a container's start, so that one start after another finds the processor free.
constexpr auto quiet_time = 8ms;
// A burst is over when nobody took one for this long.
constexpr auto burst_over = 5000ms;
constexpr std::size_t burst_factor = 4;

}  // namespace

EndpointPool::EndpointPool(NamespaceWorker& worker, unsigned target, std::function<Result<PreparedEndpoint>()> make,
                           std::function<void(PreparedEndpoint)> discard)
    : worker_(worker), target_(target), make_(std::move(make)), discard_(std::move(discard)), wanted_(target) {}

EndpointPool::~EndpointPool() { stop(); }

void EndpointPool::start() {
  const MutexLock lock(mutex_);
  running_ = true;
  plan();
}

void EndpointPool::stop() {
  std::deque<PreparedEndpoint> rest;
  {
    const MutexLock lock(mutex_);
    running_ = false;
    stopped_ = true;
    rest.swap(shelf_);
  }
  changed_.notify_all();
  worker_.cancel(this);
  {
    // What a task that was under way may have put there.
    const MutexLock lock(mutex_);
    std::ranges::move(shelf_, std::back_inserter(rest));
    shelf_.clear();
  }
  for (PreparedEndpoint& endpoint : rest) discard_(std::move(endpoint));
}

std::size_t EndpointPool::room() const {
  const std::size_t aim = waiting_ + (running_ ? wanted_ : 0);
  return aim > shelf_.size() ? aim - shelf_.size() : 0;
}

void EndpointPool::plan() {
  if (stopped_) return;
  if (waiting_ > 0 || (running_ && shelf_.size() * 2 < wanted_))
    worker_.schedule(this, 0ms, [this] { fill(); });
  else if (room() > 0)
    worker_.schedule(this, quiet_time, [this] { fill(); });
  else if (wanted_ > target_)
    worker_.schedule(this, burst_over, [this] { fill(); });
}

// Once nobody has taken one for a while, the shelf goes back to its usual size.
void EndpointPool::shrink() {
  std::deque<PreparedEndpoint> surplus;
  {
    const MutexLock lock(mutex_);
    if (wanted_ == target_ || std::chrono::steady_clock::now() - last_take_ < burst_over) return;
    wanted_ = target_;
    while (shelf_.size() > wanted_) {
      surplus.push_back(std::move(shelf_.back()));
      shelf_.pop_back();
    }
  }
  for (PreparedEndpoint& endpoint : surplus) discard_(std::move(endpoint));
}

// Makes one and plans the next, so that urgent work of others gets in between.
void EndpointPool::fill() {
  shrink();
  {
    const MutexLock lock(mutex_);
    if (room() == 0) return plan();
  }
  auto made = make_();
  MutexLock lock(mutex_);
  if (made) {
    if (stopped_ || (!running_ && waiting_ == 0)) {
      lock.unlock();
      discard_(std::move(*made));
      return;
    }
    shelf_.push_back(std::move(*made));
    changed_.notify_one();
    plan();
    return;
  }
  if (waiting_ > 0) {
    last_failure_ = std::move(made).error();
    ++failures_;
    changed_.notify_all();
    return;
  }
  // An exhausted network is no news; whoever asks will be told. Anything else is tried again when somebody asks.
  if (made.error().kind() != ErrorKind::exhausted) log::warn("prepare a network endpoint: {}", made.error().text());
}

Result<> EndpointPool::check_open() {
  const MutexLock lock(mutex_);
  if (stopped_) return fail(ErrorKind::unavailable, "the network is being removed");
  return {};
}

Result<PreparedEndpoint> EndpointPool::take() {
  MutexLock lock(mutex_);
  if (stopped_) return fail(ErrorKind::unavailable, "the network is being removed");
  last_take_ = std::chrono::steady_clock::now();
  if (shelf_.empty()) {
    if (running_ && target_ > 0) wanted_ = std::min(target_ * burst_factor, wanted_ + target_);
    ++waiting_;
    const std::uint64_t failures_before = failures_;
    plan();
    changed_.wait(lock, [&]() REQUIRES(mutex_) { return !shelf_.empty() || failures_ != failures_before || stopped_; });
    --waiting_;
    if (stopped_) return fail(ErrorKind::unavailable, "the network is being removed");
    if (shelf_.empty()) return std::unexpected(Error(*last_failure_));
  }
  PreparedEndpoint endpoint = std::move(shelf_.front());
  shelf_.pop_front();
  plan();
  return endpoint;
}

std::optional<PreparedEndpoint> EndpointPool::steal(std::optional<Ipv4> address) {
  const MutexLock lock(mutex_);
  const auto found = std::ranges::find_if(
      shelf_, [&](const PreparedEndpoint& endpoint) { return !address || endpoint.address == *address; });
  if (found == shelf_.end()) return std::nullopt;
  PreparedEndpoint endpoint = std::move(*found);
  shelf_.erase(found);
  return endpoint;
}

}  // namespace corten::network
