#include <zstd.h>

#include <algorithm>
#include <cstring>

#include "store/archive.h"
#include "store/parallel_gzip.h"

namespace corten::store {
namespace {

constexpr std::size_t chunk = 256U << 10;

// Collects what comes into pieces for the threads of ParallelGzip.
class GzipSink : public CompressSink {
 public:
  explicit GzipSink(ByteSink& sink) : pool_(gzip_threads() + 2, gzip_piece), gzip_(sink) {}

  Result<> write(std::span<const std::byte> bytes) override {
    while (!bytes.empty()) {
      if (!piece_) piece_ = pool_.take();
      const std::size_t count = std::min(bytes.size(), gzip_piece - piece_->used);
      std::memcpy(piece_->memory.data() + piece_->used, bytes.data(), count);
      piece_->used += count;
      bytes = bytes.subspan(count);
      if (piece_->used == gzip_piece) CHECK(gzip_.add(std::exchange(piece_, nullptr)));
    }
    return {};
  }
  Result<> finish() override {
    if (piece_) CHECK(gzip_.add(std::exchange(piece_, nullptr)));
    return gzip_.finish();
  }

 private:
  PiecePool pool_;
  std::shared_ptr<Piece> piece_;
  ParallelGzip gzip_;
};

class ZstdSink : public CompressSink {
 public:
  explicit ZstdSink(ByteSink& sink) : sink_(sink), context_(ZSTD_createCCtx()), output_(chunk) {
    ZSTD_CCtx_setParameter(context_.get(), ZSTD_c_compressionLevel, 1);
    ZSTD_CCtx_setParameter(context_.get(), ZSTD_c_checksumFlag, 1);
  }
  Result<> write(std::span<const std::byte> bytes) override { return run(bytes, ZSTD_e_continue); }
  Result<> finish() override { return run({}, ZSTD_e_end); }

 private:
  Result<> run(std::span<const std::byte> bytes, ZSTD_EndDirective how) {
    ZSTD_inBuffer in{bytes.data(), bytes.size(), 0};
    for (;;) {
      ZSTD_outBuffer out{output_.data(), output_.size(), 0};
      const std::size_t left = ZSTD_compressStream2(context_.get(), &out, &in, how);
      if (ZSTD_isError(left) != 0) return fail(ErrorKind::internal, "zstd: {}", ZSTD_getErrorName(left));
      CHECK(sink_.write(std::span(output_).first(out.pos)));
      if (how == ZSTD_e_continue ? in.pos == in.size : left == 0) return {};
    }
  }
  struct Free {
    void operator()(ZSTD_CCtx* context) const { ZSTD_freeCCtx(context); }
  };
  ByteSink& sink_;
  std::unique_ptr<ZSTD_CCtx, Free> context_;
  std::vector<std::byte> output_;
};

}  // namespace

Result<std::unique_ptr<CompressSink>> compress(ByteSink& sink, Compression how) {
  switch (how) {
    case Compression::gzip: return std::make_unique<GzipSink>(sink);
    case Compression::zstd: return std::make_unique<ZstdSink>(sink);
    default: return fail(ErrorKind::invalid, "only gzip and zstd are written");
  }
}

}  // namespace corten::store
