// gzip by several threads. The stream is cut into pieces of a fixed size, and each becomes a gzip member of its own
// that says in its header how long it is (RFC 1952 section 2.3.1.1: the extra field "CT", 32 bits, the member's bytes
// from its first to its last). Readers take members one after the other for one stream; ours takes several at a time.
//
// The same bytes in give the same bytes out, whatever the number of threads and the cuts they came in.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include "base/mutex.h"
#include "store/pieces.h"

namespace corten::store {

inline constexpr std::size_t gzip_piece = 1U << 20;
// As many as are worth having for one stream on this machine.
unsigned gzip_threads();

class ParallelGzip {
 public:
  // `sink` gets the members in order, from any of the threads, one call at a time. Threads start with the first piece.
  explicit ParallelGzip(ByteSink& sink) : sink_(sink) {}
  ParallelGzip(const ParallelGzip&) = delete;
  ParallelGzip& operator=(const ParallelGzip&) = delete;
  // Without finish(): what has not been written by now will not be.
  ~ParallelGzip();

  // Each of gzip_piece bytes but the last. Waits for nobody: the pieces' pool is the bound. An error is the first that
  // the sink gave, or that there is no thread.
  Result<> add(PiecePtr piece) EXCLUDES(mutex_);
  // Waits until all is written. A stream of no bytes is one empty member.
  Result<> finish() EXCLUDES(mutex_);

 private:
  struct Job {
    PiecePtr in;
    std::vector<std::uint8_t> out;
    bool taken = false, done = false;
  };
  Result<> start() EXCLUDES(mutex_);
  void work() EXCLUDES(mutex_);
  Job* untaken_job() REQUIRES(mutex_);
  // Keeps the first error; what nobody works on is dropped.
  void stop(Result<> why) REQUIRES(mutex_);

  ByteSink& sink_;
  std::vector<std::thread> threads_;
  Mutex mutex_;
  CondVar changed_;
  std::deque<std::unique_ptr<Job>> jobs_ GUARDED_BY(mutex_);  // in order; a job goes when it is written
  std::size_t unwritten_ GUARDED_BY(mutex_) = 0;              // done or being done
  bool writing_ GUARDED_BY(mutex_) = false, ended_ GUARDED_BY(mutex_) = false, any_ GUARDED_BY(mutex_) = false;
  Result<> written_ GUARDED_BY(mutex_);
};

}  // namespace corten::store
