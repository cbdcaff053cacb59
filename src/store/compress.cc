#include <isa-l/igzip_lib.h>
#include <zstd.h>

#include "store/archive.h"

namespace corten::store {
namespace {

constexpr std::size_t chunk = 256U << 10;

class GzipSink : public CompressSink {
 public:
  explicit GzipSink(ByteSink& sink)
      : sink_(sink), stream_(std::make_unique<isal_zstream>()), level_(ISAL_DEF_LVL1_DEFAULT), output_(chunk) {
    isal_deflate_init(stream_.get());
    stream_->level = 1;
    stream_->level_buf = level_.data();
    stream_->level_buf_size = static_cast<std::uint32_t>(level_.size());
    stream_->gzip_flag = IGZIP_GZIP;
    stream_->flush = NO_FLUSH;
  }

  Result<> write(std::span<const std::byte> bytes) override {
    while (!bytes.empty()) {
      const auto piece = bytes.first(std::min<std::size_t>(bytes.size(), 1U << 30));
      CHECK(run(piece, false));
      bytes = bytes.subspan(piece.size());
    }
    return {};
  }
  Result<> finish() override { return run({}, true); }

 private:
  Result<> run(std::span<const std::byte> bytes, bool last) {
    stream_->next_in = const_cast<std::uint8_t*>(reinterpret_cast<const std::uint8_t*>(bytes.data()));
    stream_->avail_in = static_cast<std::uint32_t>(bytes.size());
    stream_->end_of_stream = last ? 1 : 0;
    do {
      stream_->next_out = reinterpret_cast<std::uint8_t*>(output_.data());
      stream_->avail_out = static_cast<std::uint32_t>(output_.size());
      if (isal_deflate(stream_.get()) != COMP_OK) return fail(ErrorKind::internal, "gzip compression failed");
      CHECK(sink_.write(std::span(output_).first(output_.size() - stream_->avail_out)));
    } while (stream_->avail_out == 0 || stream_->avail_in > 0);
    return {};
  }

  ByteSink& sink_;
  std::unique_ptr<isal_zstream> stream_;
  std::vector<std::uint8_t> level_;
  std::vector<std::byte> output_;
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
