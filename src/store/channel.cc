#include "store/channel.h"

#include <cstring>

namespace corten::store {

Result<> Channel::write(std::span<const std::byte> bytes) {
  if (bytes.empty()) return {};
  MutexLock lock(mutex_);
  changed_.wait(lock, [&]() REQUIRES(mutex_) { return abandoned_ || queued_ < limit_; });
  if (abandoned_) return fail(ErrorKind::cancelled, "the reader has gone");
  pieces_.emplace_back(bytes.begin(), bytes.end());
  queued_ += bytes.size();
  changed_.notify_all();
  return {};
}

void Channel::close(Result<> how) {
  const MutexLock lock(mutex_);
  if (closed_) return;
  closed_ = true;
  end_ = std::move(how);
  changed_.notify_all();
}

Result<std::size_t> Channel::read(std::span<std::byte> buffer) {
  MutexLock lock(mutex_);
  changed_.wait(lock, [&]() REQUIRES(mutex_) { return closed_ || !pieces_.empty(); });
  if (pieces_.empty()) {
    if (!end_) return std::unexpected(end_.error());
    return std::size_t{0};
  }
  const std::vector<std::byte>& piece = pieces_.front();
  const std::size_t count = std::min(buffer.size(), piece.size() - at_);
  std::memcpy(buffer.data(), piece.data() + at_, count);
  at_ += count;
  if (at_ == piece.size()) {
    queued_ -= piece.size();
    at_ = 0;
    pieces_.pop_front();
    changed_.notify_all();
  }
  return count;
}

void Channel::abandon() {
  const MutexLock lock(mutex_);
  abandoned_ = true;
  pieces_.clear();
  queued_ = at_ = 0;
  changed_.notify_all();
}

WriteBehind::WriteBehind(std::function<Result<>(ByteSource&)> consume)
    : thread_([this, consume = std::move(consume)] {
        result_ = consume(channel_);
        channel_.abandon();
      }) {}

WriteBehind::~WriteBehind() {
  if (!thread_.joinable()) return;
  channel_.close(fail(ErrorKind::cancelled, "the writer gave up"));
  thread_.join();
}

Result<> WriteBehind::write(std::span<const std::byte> bytes) {
  auto written = channel_.write(bytes);
  if (written || !thread_.joinable()) return written;
  // The consumer ended early; its reason is the one to tell.
  thread_.join();
  return result_ ? std::move(written) : result_;
}

Result<> WriteBehind::finish() {
  channel_.close();
  if (thread_.joinable()) thread_.join();
  return result_;
}

Result<std::size_t> TeeSource::read(std::span<std::byte> buffer) {
  const std::size_t got = TRY(source_.read(buffer));
  CHECK(sink_.write(buffer.first(got)));
  return got;
}

}  // namespace corten::store
