#include "store/pieces.h"

#include <algorithm>
#include <cstring>

#include "base/cleanup.h"

namespace corten::store {

struct PiecePool::State {
  State(std::size_t pieces, std::size_t bytes) : size(bytes), left(pieces) {}

  const std::size_t size;
  Mutex mutex;
  CondVar returned;
  std::vector<std::unique_ptr<Piece>> free GUARDED_BY(mutex);
  std::size_t left GUARDED_BY(mutex);  // not made yet

  std::unique_ptr<Piece> take() EXCLUDES(mutex) {
    {
      MutexLock lock(mutex);
      returned.wait(lock, [&]() REQUIRES(mutex) { return !free.empty() || left > 0; });
      if (!free.empty()) {
        auto piece = std::move(free.back());
        free.pop_back();
        return piece;
      }
      --left;
    }
    Cleanup undo([&] {
      const MutexLock lock(mutex);
      ++left;
      returned.notify_one();
    });
    auto piece = std::make_unique<Piece>();
    piece->memory.resize(size);
    undo.cancel();
    return piece;
  }
  void give(std::unique_ptr<Piece> piece) EXCLUDES(mutex) {
    piece->used = 0;
    const MutexLock lock(mutex);
    free.push_back(std::move(piece));
    returned.notify_one();
  }
};

PiecePool::PiecePool(std::size_t count, std::size_t size) : state_(std::make_shared<State>(count, size)) {}

std::shared_ptr<Piece> PiecePool::take() {
  return {state_->take().release(), [state = state_](Piece* piece) { state->give(std::unique_ptr<Piece>(piece)); }};
}

void PieceStream::put(const PiecePtr& piece) {
  const MutexLock lock(mutex_);
  for (Waiting& reader : waiting_)
    if (!reader.gone) reader.pieces.push_back(piece);
  changed_.notify_all();
}

void PieceStream::close(Result<> how) {
  const MutexLock lock(mutex_);
  if (closed_) return;
  closed_ = true;
  end_ = std::move(how);
  changed_.notify_all();
}

Result<PiecePtr> PieceStream::next(std::size_t reader) {
  MutexLock lock(mutex_);
  Waiting& mine = waiting_[reader];
  changed_.wait(lock, [&]() REQUIRES(mutex_) { return closed_ || !mine.pieces.empty(); });
  if (mine.pieces.empty()) {
    if (!end_) return std::unexpected(end_.error());
    return PiecePtr();
  }
  PiecePtr piece = std::move(mine.pieces.front());
  mine.pieces.pop_front();
  return piece;
}

void PieceStream::leave(std::size_t reader) {
  std::deque<PiecePtr> dropped;  // given back to their pool without the lock
  const MutexLock lock(mutex_);
  waiting_[reader].gone = true;
  dropped.swap(waiting_[reader].pieces);
}

Result<std::size_t> PieceSource::read(std::span<std::byte> buffer) {
  while (!at_end_ && (!piece_ || at_ == piece_->used)) {
    piece_.reset();
    at_ = 0;
    piece_ = TRY(stream_.next(reader_));
    at_end_ = piece_ == nullptr;
  }
  if (at_end_) return std::size_t{0};
  const std::size_t count = std::min(buffer.size(), piece_->used - at_);
  std::memcpy(buffer.data(), piece_->memory.data() + at_, count);
  at_ += count;
  return count;
}

}  // namespace corten::store
