// A bounded stream of bytes from one thread to another, and a thread that writes behind.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "store/stream.h"

namespace corten::store {

// One writer, one reader. Each side ends by itself: the writer by close(), with an error that the reader then gets; the
// reader by abandon(), after which writes fail.
class Channel : public ByteSink, public ByteSource {
 public:
  explicit Channel(std::size_t limit = 4U << 20) : limit_(limit) {}
  Result<> write(std::span<const std::byte> bytes) override;
  void close(Result<> how = {});
  Result<std::size_t> read(std::span<std::byte> buffer) override;
  void abandon();

 private:
  std::size_t limit_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::vector<std::byte>> pieces_;
  std::size_t queued_ = 0, at_ = 0;
  bool closed_ = false, abandoned_ = false;
  Result<> end_;
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
  Result<> result_;
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
