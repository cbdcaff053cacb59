#include "image/teller.h"

#include <algorithm>

#include "base/thread.h"

namespace corten::image {
namespace {

// A listener who takes nothing for so long misses what comes then.
constexpr std::size_t max_waiting = 8192;

}  // namespace

Teller::Teller(TransferProgress listener) : listener_(std::move(listener)) {
  if (!listener_) return;
  if (auto thread = start_thread([this] { work(); })) thread_ = std::move(*thread);
}

Teller::~Teller() {
  if (!listener_) return;
  {
    const MutexLock lock(mutex_);
    ending_ = true;
    changed_.notify_all();
  }
  // Without a thread all is told now.
  thread_.joinable() ? thread_.join() : work();
}

void Teller::tell(TransferEvent event) {
  if (!listener_) return;
  const MutexLock lock(mutex_);
  if (event.total != 0) {
    const auto last = std::find_if(waiting_.rbegin(), waiting_.rend(),
                                   [&](const TransferEvent& other) { return other.id == event.id; });
    if (last != waiting_.rend() && last->total != 0 && last->status == event.status) {
      *last = std::move(event);
      return;
    }
  }
  if (waiting_.size() >= max_waiting) return;
  waiting_.push_back(std::move(event));
  changed_.notify_all();
}

void Teller::work() {
  MutexLock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [&]() REQUIRES(mutex_) { return ending_ || !waiting_.empty(); });
    if (waiting_.empty()) return;
    const TransferEvent event = std::move(waiting_.front());
    waiting_.pop_front();
    lock.unlock();
    listener_(event);
    lock.lock();
  }
}

}  // namespace corten::image
