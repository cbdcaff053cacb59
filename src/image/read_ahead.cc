#include "image/read_ahead.h"

#include <algorithm>
#include <cstring>

#include "base/thread.h"

namespace corten::image {

ReadAhead::ReadAhead(store::ByteSource& source, std::function<void(std::span<const std::byte>)> seen,
                     std::function<void()> interrupt)
    : source_(source), seen_(std::move(seen)), interrupt_(std::move(interrupt)) {
  auto thread = start_thread([this] { work(); });
  if (thread) {
    thread_ = std::move(*thread);
    return;
  }
  const MutexLock lock(mutex_);
  end_ = std::unexpected(std::move(thread).error());
}

ReadAhead::~ReadAhead() {
  bool running = false;
  {
    const MutexLock lock(mutex_);
    abandoned_ = true;
    running = !end_;
    changed_.notify_all();
  }
  if (running && interrupt_) interrupt_();
  if (thread_.joinable()) thread_.join();
}

void ReadAhead::work() {
  for (std::uint64_t number = 0;; ++number) {
    {
      MutexLock lock(mutex_);
      changed_.wait(lock, [&]() REQUIRES(mutex_) { return abandoned_ || number - used_ < blocks; });
      if (abandoned_) return;
    }
    Block& block = ring_[number % blocks];
    if (block.bytes.empty()) block.bytes.resize(block_size);
    const auto got = store::read_full(source_, block.bytes);
    const MutexLock lock(mutex_);
    if (!got || *got == 0) {
      end_ = got ? Result<>() : Result<>(std::unexpected(got.error()));
    } else {
      block.size = *got;
      filled_ = number + 1;
    }
    changed_.notify_all();
    if (end_) return;
  }
}

Result<bool> ReadAhead::next() {
  MutexLock lock(mutex_);
  if (std::exchange(current_, nullptr) != nullptr) {
    ++used_;
    changed_.notify_all();
  }
  changed_.wait(lock, [&]() REQUIRES(mutex_) { return filled_ > used_ || end_.has_value(); });
  if (filled_ == used_) {
    if (!*end_) return std::unexpected(end_->error());
    return false;
  }
  current_ = &ring_[used_ % blocks];
  at_ = 0;
  lock.unlock();
  if (seen_) seen_(std::span(current_->bytes).first(current_->size));
  return true;
}

Result<std::size_t> ReadAhead::read(std::span<std::byte> buffer) {
  if (buffer.empty()) return std::size_t{0};
  if ((current_ == nullptr || at_ == current_->size) && !TRY(next())) return std::size_t{0};
  const std::size_t count = std::min(buffer.size(), current_->size - at_);
  std::memcpy(buffer.data(), current_->bytes.data() + at_, count);
  at_ += count;
  return count;
}

}  // namespace corten::image
