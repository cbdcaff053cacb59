#include "engine/events.h"

#include <vector>

namespace corten::engine {
namespace {

// A listener that lags further than this behind the newest event is cut off rather than fed for ever.
constexpr std::size_t max_backlog = 10'000;

}  // namespace

void EventBus::publish(Event event) {
  if (event.time == Timestamp{}) event.time = now();
  auto shared = std::make_shared<const Event>(std::move(event));
  {
    const MutexLock lock(mutex_);
    events_.push_back(std::move(shared));
    // With listeners about, what they have not read yet is kept as well; they say themselves when they lag too far.
    const std::size_t limit = listeners_ > 0 ? kept_ + max_backlog : kept_;
    while (events_.size() > limit) {
      events_.pop_front();
      ++first_;
    }
  }
  grown_.notify_all();
}

Result<> EventBus::listen(std::optional<Timestamp> since, std::optional<Timestamp> until, const std::stop_token& stop,
                          const std::function<Result<>(const Event&)>& deliver) {
  MutexLock lock(mutex_);
  ++listeners_;
  std::uint64_t next = first_ + events_.size();
  if (since) {
    // Only the newest kept_ count as the past, however many a slow listener makes us hold.
    next = events_.size() > kept_ ? first_ + events_.size() - kept_ : first_;
  }
  Result<> result;
  while (result) {
    const std::uint64_t end = first_ + events_.size();
    if (next < first_ || end - next > max_backlog) {
      result = fail(ErrorKind::exhausted, "events: the listener is more than {} events behind", max_backlog);
      break;
    }
    if (next == end) {
      const auto more = [&]() REQUIRES(mutex_) { return first_ + events_.size() > next; };
      if (until) {
        if (*until <= now()) break;
        const auto left = std::chrono::steady_clock::now() + (*until - now());
        grown_.wait_until(lock, stop, left, more);
      } else {
        grown_.wait(lock, stop, more);
      }
      if (stop.stop_requested()) break;
      continue;
    }
    std::vector<std::shared_ptr<const Event>> batch;
    for (; next < end && batch.size() < 256; ++next) batch.push_back(events_[next - first_]);
    lock.unlock();
    bool past_the_end = false;
    for (const auto& event : batch) {
      if (since && event->time < *since) continue;
      if (until && event->time > *until) {
        past_the_end = true;
        break;
      }
      if (stop.stop_requested()) break;
      result = deliver(*event);
      if (!result) break;
    }
    lock.lock();
    if (past_the_end || stop.stop_requested()) break;
  }
  --listeners_;
  return result;
}

}  // namespace corten::engine
