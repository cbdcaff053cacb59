#include "image/incoming.h"

#include <unistd.h>

#include <algorithm>

namespace corten::image {

std::shared_ptr<IncomingBlob> IncomingBlob::complete(UniqueFd file, std::uint64_t size) {
  auto blob = std::make_shared<IncomingBlob>(std::move(file), size, false);
  blob->advance(size);
  blob->end({});
  return blob;
}

void IncomingBlob::advance(std::uint64_t bytes) {
  const MutexLock lock(mutex_);
  available_ = bytes;
  changed_.notify_all();
}

void IncomingBlob::end(Result<> how) {
  const MutexLock lock(mutex_);
  if (!end_) end_ = std::move(how);
  changed_.notify_all();
}

Result<> IncomingBlob::wait(const std::stop_token& stop) {
  MutexLock lock(mutex_);
  changed_.wait(lock, stop, [&]() REQUIRES(mutex_) { return end_.has_value(); });
  if (!end_) return fail(ErrorKind::cancelled, "context canceled");
  return *end_;
}

bool IncomingBlob::ended() const {
  const MutexLock lock(mutex_);
  return end_.has_value();
}

Result<std::size_t> IncomingBlob::read(std::uint64_t offset, std::span<std::byte> buffer, const std::stop_token& stop) {
  std::uint64_t available = 0;
  {
    MutexLock lock(mutex_);
    changed_.wait(lock, stop,
                  [&]() REQUIRES(mutex_) { return offset < available_ || offset >= size_ || end_.has_value(); });
    if (end_ && !*end_) return std::unexpected(end_->error());
    if (offset >= size_) return std::size_t{0};
    if (stop.stop_requested()) return fail(ErrorKind::cancelled, "context canceled");
    available = available_;
  }
  const auto wanted = static_cast<std::size_t>(std::min<std::uint64_t>(buffer.size(), available - offset));
  for (;;) {
    const ssize_t got = ::pread(file_.get(), buffer.data(), wanted, static_cast<off_t>(offset));
    if (got > 0) return static_cast<std::size_t>(got);
    if (got == 0) return fail(ErrorKind::internal, "a blob is shorter than it was");
    if (errno != EINTR) return sys_fail("read a blob");
  }
}

Result<std::size_t> IncomingSource::read(std::span<std::byte> buffer) {
  const std::size_t got = TRY(blob_->read(position_, buffer, stop_));
  position_ += got;
  if (progress_ && got > 0) progress_(position_);
  return got;
}

}  // namespace corten::image
