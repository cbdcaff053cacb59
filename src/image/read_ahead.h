// A source read on a thread of its own, a few blocks ahead, so that making bytes and using them run side by side.
#pragma once

#include <array>
#include <cstddef>
#include <functional>
#include <optional>
#include <span>
#include <thread>
#include <vector>

#include "base/mutex.h"
#include "store/stream.h"

namespace corten::image {

class ReadAhead : public store::ByteSource {
 public:
  static constexpr std::size_t block_size = 256U << 10;
  static constexpr std::size_t blocks = 4;

  // `source` is borrowed and used by the thread alone. `seen` gets every byte once, in order, on the reader's thread
  // (so that it is hashed while it is in the cache). `interrupt` makes a blocked read of the source fail: called where
  // the reader ends before the source does. Where there is no thread to be had, the first read says so.
  ReadAhead(store::ByteSource& source, std::function<void(std::span<const std::byte>)> seen,
            std::function<void()> interrupt);
  ReadAhead(const ReadAhead&) = delete;
  ReadAhead& operator=(const ReadAhead&) = delete;
  ~ReadAhead() override;
  Result<std::size_t> read(std::span<std::byte> buffer) override;

 private:
  struct Block {
    std::vector<std::byte> bytes;
    std::size_t size = 0;
  };
  void work() EXCLUDES(mutex_);
  // The next full block, after the current one has been given back; false at the end.
  Result<bool> next() EXCLUDES(mutex_);

  store::ByteSource& source_;
  const std::function<void(std::span<const std::byte>)> seen_;
  const std::function<void()> interrupt_;
  // Each block belongs to the thread that is filling it or to the reader, as the two counters say.
  std::array<Block, blocks> ring_;
  const Block* current_ = nullptr;  // the reader's, as is the next
  std::size_t at_ = 0;

  Mutex mutex_;
  CondVar changed_;
  std::uint64_t filled_ GUARDED_BY(mutex_) = 0, used_ GUARDED_BY(mutex_) = 0;
  bool abandoned_ GUARDED_BY(mutex_) = false;
  std::optional<Result<>> end_ GUARDED_BY(mutex_);
  std::thread thread_;  // last: it uses the others
};

}  // namespace corten::image
