// A bounded stream of bytes from one thread to another, and a thread that writes behind.
#pragma once

#include <deque>
#include <functional>
#include <optional>
#include <thread>
#include <vector>

#include "base/mutex.h"
#include "store/stream.h"

namespace corten::store {

// One writer, one reader. Each side ends by itself: the writer by close(), with an error that the reader then gets; the
// reader by abandon(), after which writes fail.
class Channel : public ByteSink, public ByteSource {
 public:
  explicit Channel(std::size_t limit = 4U << 20) : limit_(limit) {}
  Result<> write(std::span<const std::byte> bytes) override EXCLUDES(mutex_);
  void close(Result<> how = {}) EXCLUDES(mutex_);
  Result<std::size_t> read(std::span<std::byte> buffer) override EXCLUDES(mutex_);
  void abandon() EXCLUDES(mutex_);

 private:
  const std::size_t limit_;
  Mutex mutex_;
  CondVar changed_;
  std::deque<std::vector<std::byte>> pieces_ GUARDED_BY(mutex_);
  std::size_t queued_ GUARDED_BY(mutex_) = 0, at_ GUARDED_BY(mutex_) = 0;
  bool closed_ GUARDED_BY(mutex_) = false, abandoned_ GUARDED_BY(mutex_) = false;
  Result<> end_ GUARDED_BY(mutex_);
};

// Passes everything that is written to `consume` on a thread of its own.
class WriteBehind : public ByteSink {
 public:
  explicit WriteBehind(std::function<Result<>(ByteSource&)> consume);
  ~WriteBehind() override;
  Result<> write(std::span<const std::byte> bytes) override;
  // The end of the stream; waits for the thread and says how it went.
  Result<> finish();

 private:
  Channel channel_;
  Result<> result_;  // the thread's until it has been joined
  std::thread thread_;
};

// Passes everything that is read on to a sink.
class TeeSource : public ByteSource {
 public:
  TeeSource(ByteSource& source, ByteSink& sink) : source_(source), sink_(sink) {}
  Result<std::size_t> read(std::span<std::byte> buffer) override;

 private:
  ByteSource& source_;
  ByteSink& sink_;
};

}  // namespace corten::store
