// Bytes that several threads look at while they pass: read once into memory, shared by all who work on them.
#pragma once

#include <cstddef>
#include <deque>
#include <memory>
#include <span>
#include <vector>

#include "base/mutex.h"
#include "store/stream.h"

namespace corten::store {

// Filled by one thread, then never changed.
struct Piece {
  std::vector<std::byte> memory;
  std::size_t used = 0;
  std::span<const std::byte> bytes() const { return std::span(memory).first(used); }
};
using PiecePtr = std::shared_ptr<const Piece>;

// Pieces of one size, at most so many at a time: what bounds the memory of all who share them. A copy is the same pool.
class PiecePool {
 public:
  PiecePool(std::size_t count, std::size_t size);
  // Waits until there is one.
  std::shared_ptr<Piece> take();

 private:
  struct State;
  std::shared_ptr<State> state_;
};

// One writer, a fixed number of readers; each reader sees every piece. Holds what the slowest reader has not seen: its
// bound is the pool that the pieces are from.
class PieceStream {
 public:
  explicit PieceStream(std::size_t readers) : waiting_(readers) {}
  void put(const PiecePtr& piece) EXCLUDES(mutex_);
  // No more will come: all is well, or the error that the readers then get.
  void close(Result<> how = {}) EXCLUDES(mutex_);
  // Waits; null at the end.
  Result<PiecePtr> next(std::size_t reader) EXCLUDES(mutex_);
  // This reader wants no more.
  void leave(std::size_t reader) EXCLUDES(mutex_);

 private:
  struct Waiting {
    std::deque<PiecePtr> pieces;
    bool gone = false;
  };
  Mutex mutex_;
  CondVar changed_;
  std::vector<Waiting> waiting_ GUARDED_BY(mutex_);
  bool closed_ GUARDED_BY(mutex_) = false;
  Result<> end_ GUARDED_BY(mutex_);
};

// One reader's view of the stream as bytes.
class PieceSource : public ByteSource {
 public:
  PieceSource(PieceStream& stream, std::size_t reader) : stream_(stream), reader_(reader) {}
  PieceSource(const PieceSource&) = delete;
  PieceSource& operator=(const PieceSource&) = delete;
  ~PieceSource() override { stream_.leave(reader_); }
  Result<std::size_t> read(std::span<std::byte> buffer) override;
  // All has been read.
  bool at_end() const { return at_end_; }

 private:
  PieceStream& stream_;
  const std::size_t reader_;
  PiecePtr piece_;
  std::size_t at_ = 0;
  bool at_end_ = false;
};

}  // namespace corten::store
