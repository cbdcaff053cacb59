// A blob that arrives: one thread writes its file, another one reads behind it. What has come waits in the file, so the
// writer never waits for the reader, and no memory is needed for the bytes in between.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>

#include "base/error.h"
#include "base/mutex.h"
#include "base/unique_fd.h"
#include "store/stream.h"

namespace corten::image {

class IncomingBlob {
 public:
  // Of `size` bytes in the end. `resumed`: it begins with bytes of another time, which nobody has vouched for yet.
  IncomingBlob(UniqueFd file, std::uint64_t size, bool resumed)
      : file_(std::move(file)), size_(size), resumed_(resumed) {}
  // One that is complete.
  static std::shared_ptr<IncomingBlob> complete(UniqueFd file, std::uint64_t size);

  std::uint64_t size() const { return size_; }
  bool resumed() const { return resumed_; }

  // For the writer. The file has so many bytes now; none of them changes any more.
  void advance(std::uint64_t bytes) EXCLUDES(mutex_);
  // All of them are there and are the right ones, or why not.
  void end(Result<> how) EXCLUDES(mutex_);

  // For the reader. Waits for end() and gives what it said; cancelled when `stop` fires before.
  Result<> wait(const std::stop_token& stop) EXCLUDES(mutex_);
  bool ended() const EXCLUDES(mutex_);
  // Bytes from `offset` on, at least one but at the blob's end, which is not held up by end(). May wait.
  Result<std::size_t> read(std::uint64_t offset, std::span<std::byte> buffer, const std::stop_token& stop)
      EXCLUDES(mutex_);

 private:
  const UniqueFd file_;
  const std::uint64_t size_;
  const bool resumed_;
  mutable Mutex mutex_;
  StopCondVar changed_;
  std::uint64_t available_ GUARDED_BY(mutex_) = 0;
  std::optional<Result<>> end_ GUARDED_BY(mutex_);
};

// Reads it from its beginning.
class IncomingSource : public store::ByteSource {
 public:
  // `progress` is called with the position after each piece; may be empty.
  IncomingSource(std::shared_ptr<IncomingBlob> blob, std::stop_token stop, std::function<void(std::uint64_t)> progress)
      : blob_(std::move(blob)), stop_(std::move(stop)), progress_(std::move(progress)) {}
  Result<std::size_t> read(std::span<std::byte> buffer) override;

 private:
  const std::shared_ptr<IncomingBlob> blob_;
  const std::stop_token stop_;
  const std::function<void(std::uint64_t)> progress_;
  std::uint64_t position_ = 0;
};

}  // namespace corten::image
