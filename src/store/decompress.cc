#include <bzlib.h>
#include <isa-l/igzip_lib.h>
#include <lzma.h>
#include <zstd.h>

#include <array>
#include <cstring>

#include "store/archive.h"

namespace corten::store {
namespace {

constexpr std::size_t chunk = 256U << 10;

std::unexpected<Error> truncated(std::string_view format) {
  return fail(ErrorKind::invalid, "{} data is truncated: unexpected EOF", format);
}

// What every decompressor has: the stream below and a buffer of its bytes.
class Decompressor : public ByteSource {
 protected:
  explicit Decompressor(PrefixSource source) : source_(std::move(source)), input_(chunk) {}
  Result<std::span<const std::byte>> more() {
    const std::size_t got = TRY(source_.read(input_));
    return std::span<const std::byte>(input_).first(got);
  }

 private:
  PrefixSource source_;
  std::vector<std::byte> input_;
};

// A gzip member's header (RFC 1952 section 2.3), read byte by byte. ISA-L reads it too, but forgets the flags when its
// input ends within the header, which with a file name in it can be anywhere.
class GzipHeader {
 public:
  // True when this byte was the header's last. `invalid` for what is no header.
  Result<bool> take(std::uint8_t byte) {
    if (++length_ > max_length) return fail(ErrorKind::invalid, "gzip data is damaged: its header is too long");
    switch (part_) {
      case Part::fixed: return take_fixed(byte);
      case Part::extra_length:
        extra_ |= static_cast<std::size_t>(byte) << (8 * count_);
        if (++count_ == 2) next(extra_ > 0 ? Part::extra : after(Part::extra));
        break;
      case Part::extra:
        if (++count_ == extra_) next(after(Part::extra));
        break;
      case Part::name:
        if (byte == 0) next(after(Part::name));
        break;
      case Part::comment:
        if (byte == 0) next(after(Part::comment));
        break;
      case Part::checksum:
        if (++count_ == 2) next(Part::end);
        break;
      case Part::end: break;
    }
    return part_ == Part::end;
  }

 private:
  static constexpr std::size_t max_length = 128U << 10;
  enum class Part : std::uint8_t { fixed, extra_length, extra, name, comment, checksum, end };

  Result<bool> take_fixed(std::uint8_t byte) {
    static constexpr std::array<std::uint8_t, 3> magic{0x1f, 0x8b, 8};
    if (count_ < magic.size() && byte != magic[count_]) return fail(ErrorKind::invalid, "gzip data is damaged");
    if (count_ == 3) flags_ = byte;
    if (++count_ == 10) next((flags_ & 4) != 0 ? Part::extra_length : after(Part::extra));
    return part_ == Part::end;
  }
  // The first part behind `part` that the flags announce.
  Part after(Part part) const {
    if (part < Part::name && (flags_ & 8) != 0) return Part::name;
    if (part < Part::comment && (flags_ & 16) != 0) return Part::comment;
    if (part < Part::checksum && (flags_ & 2) != 0) return Part::checksum;
    return Part::end;
  }
  void next(Part part) {
    part_ = part;
    count_ = 0;
  }

  Part part_ = Part::fixed;
  std::uint8_t flags_ = 0;
  std::size_t count_ = 0, extra_ = 0, length_ = 0;
};

class GzipSource : public Decompressor {
 public:
  explicit GzipSource(PrefixSource source)
      : Decompressor(std::move(source)), state_(std::make_unique<inflate_state>()) {
    isal_inflate_init(state_.get());
    state_->crc_flag = ISAL_GZIP_NO_HDR_VER;
  }

  Result<std::size_t> read(std::span<std::byte> buffer) override {
    state_->next_out = reinterpret_cast<std::uint8_t*>(buffer.data());
    state_->avail_out = static_cast<std::uint32_t>(std::min<std::size_t>(buffer.size(), 1U << 30));
    const std::uint32_t wanted = state_->avail_out;
    while (state_->avail_out == wanted && !done_) CHECK(step());
    return wanted - state_->avail_out;
  }

 private:
  Result<> step() {
    // A full output buffer may leave more behind than what came in last.
    if (state_->avail_in == 0 && !std::exchange(pending_, false)) {
      const auto input = TRY(more());
      if (input.empty()) {
        if (in_member_ || header_) return truncated("gzip");
        done_ = true;
        return {};
      }
      // The library takes no const; it only reads.
      state_->next_in = const_cast<std::uint8_t*>(reinterpret_cast<const std::uint8_t*>(input.data()));
      state_->avail_in = static_cast<std::uint32_t>(input.size());
    }
    if (!in_member_ && !TRY(read_header())) return {};
    const int code = isal_inflate(state_.get());
    if (code == ISAL_INCORRECT_CHECKSUM) return fail(ErrorKind::invalid, "gzip data is damaged: invalid checksum");
    if (code != ISAL_DECOMP_OK && code != ISAL_END_INPUT) return fail(ErrorKind::invalid, "gzip data is damaged");
    if (state_->block_state == ISAL_BLOCK_FINISH) in_member_ = false;
    pending_ = in_member_ && state_->avail_out == 0;
    return {};
  }

  // False when more input is needed first. What follows a member is another one, or padding that may be ignored.
  Result<bool> read_header() {
    while (state_->avail_in > 0) {
      const std::uint8_t byte = *state_->next_in;
      if (!header_ && byte != 0x1f) {
        state_->avail_in = 0;
        return false;
      }
      if (!header_) header_.emplace();
      ++state_->next_in;
      --state_->avail_in;
      if (!TRY(header_->take(byte))) continue;
      header_.reset();
      reset_inflate();
      in_member_ = true;
      return true;
    }
    return false;
  }

  // isal_inflate_reset forgets nothing of the caller's buffers, but the mode is ours to set again.
  void reset_inflate() {
    isal_inflate_reset(state_.get());
    state_->crc_flag = ISAL_GZIP_NO_HDR_VER;
  }

  std::unique_ptr<inflate_state> state_;
  std::optional<GzipHeader> header_;
  bool in_member_ = false, pending_ = false, done_ = false;
};

class ZstdSource : public Decompressor {
 public:
  explicit ZstdSource(PrefixSource source) : Decompressor(std::move(source)), context_(ZSTD_createDCtx()) {}

  Result<std::size_t> read(std::span<std::byte> buffer) override {
    if (context_ == nullptr) return fail(ErrorKind::exhausted, "no memory for zstd");
    ZSTD_outBuffer out{buffer.data(), buffer.size(), 0};
    while (out.pos == 0) {
      if (in_.pos == in_.size && !pending_) {
        const auto input = TRY(more());
        if (input.empty()) {
          if (in_frame_) return truncated("zstd");
          return std::size_t{0};
        }
        in_ = {input.data(), input.size(), 0};
      }
      const std::size_t code = ZSTD_decompressStream(context_.get(), &out, &in_);
      if (ZSTD_isError(code) != 0) return fail(ErrorKind::invalid, "zstd data is damaged: {}", ZSTD_getErrorName(code));
      in_frame_ = code != 0;
      pending_ = in_frame_ && out.pos == out.size;  // there may be output without further input
    }
    return out.pos;
  }

 private:
  struct Free {
    void operator()(ZSTD_DCtx* context) const { ZSTD_freeDCtx(context); }
  };
  std::unique_ptr<ZSTD_DCtx, Free> context_;
  ZSTD_inBuffer in_{nullptr, 0, 0};
  bool in_frame_ = false, pending_ = false;
};

// xz's own limit on what a stream may ask for: the largest preset decodes in 65 MiB.
constexpr std::uint64_t xz_memory = 128U << 20;

class XzSource : public Decompressor {
 public:
  explicit XzSource(PrefixSource source) : Decompressor(std::move(source)) {}
  XzSource(const XzSource&) = delete;
  XzSource& operator=(const XzSource&) = delete;
  ~XzSource() override { lzma_end(&stream_); }

  Result<> start() {
    if (lzma_stream_decoder(&stream_, xz_memory, LZMA_CONCATENATED) != LZMA_OK)
      return fail(ErrorKind::exhausted, "no memory for xz");
    return {};
  }

  Result<std::size_t> read(std::span<std::byte> buffer) override {
    stream_.next_out = reinterpret_cast<std::uint8_t*>(buffer.data());
    stream_.avail_out = buffer.size();
    while (stream_.avail_out == buffer.size() && !done_) CHECK(step());
    return buffer.size() - stream_.avail_out;
  }

 private:
  Result<> step() {
    if (stream_.avail_in == 0 && !last_) {
      const auto input = TRY(more());
      stream_.next_in = reinterpret_cast<const std::uint8_t*>(input.data());
      stream_.avail_in = input.size();
      last_ = input.empty();
    }
    switch (lzma_code(&stream_, last_ ? LZMA_FINISH : LZMA_RUN)) {
      case LZMA_OK: return {};
      case LZMA_STREAM_END: done_ = true; return {};
      case LZMA_BUF_ERROR: return truncated("xz");
      case LZMA_MEM_ERROR: return fail(ErrorKind::exhausted, "no memory for xz");
      case LZMA_MEMLIMIT_ERROR:
        return fail(ErrorKind::invalid, "xz data wants more than {} MiB to be decompressed", xz_memory >> 20);
      default: return fail(ErrorKind::invalid, "xz data is damaged");
    }
  }

  lzma_stream stream_ = LZMA_STREAM_INIT;
  bool last_ = false, done_ = false;
};

// A bzip2 file is one stream or, as parallel compressors write it, many.
class Bzip2Source : public Decompressor {
 public:
  explicit Bzip2Source(PrefixSource source) : Decompressor(std::move(source)) {}
  Bzip2Source(const Bzip2Source&) = delete;
  Bzip2Source& operator=(const Bzip2Source&) = delete;
  ~Bzip2Source() override { end(); }

  Result<std::size_t> read(std::span<std::byte> buffer) override {
    const auto room = static_cast<unsigned>(std::min<std::size_t>(buffer.size(), 1U << 30));
    stream_.next_out = reinterpret_cast<char*>(buffer.data());
    stream_.avail_out = room;
    while (stream_.avail_out == room && !done_) CHECK(step());
    return room - stream_.avail_out;
  }

 private:
  Result<> step() {
    // A full output buffer may leave more behind than what came in last.
    if (stream_.avail_in == 0 && !std::exchange(pending_, false)) {
      const auto input = TRY(more());
      if (input.empty()) {
        if (in_stream_) return truncated("bzip2");
        done_ = true;
        return {};
      }
      // The library takes no const; it only reads.
      stream_.next_in = const_cast<char*>(reinterpret_cast<const char*>(input.data()));
      stream_.avail_in = static_cast<unsigned>(input.size());
    }
    if (!in_stream_) {
      if (BZ2_bzDecompressInit(&stream_, 0, 0) != BZ_OK) return fail(ErrorKind::exhausted, "no memory for bzip2");
      in_stream_ = true;
    }
    const int code = BZ2_bzDecompress(&stream_);
    if (code == BZ_MEM_ERROR) return fail(ErrorKind::exhausted, "no memory for bzip2");
    if (code != BZ_OK && code != BZ_STREAM_END) return fail(ErrorKind::invalid, "bzip2 data is damaged");
    if (code == BZ_STREAM_END) end();
    pending_ = in_stream_ && stream_.avail_out == 0;
    return {};
  }

  void end() {
    if (std::exchange(in_stream_, false)) BZ2_bzDecompressEnd(&stream_);
  }

  bz_stream stream_{};
  bool in_stream_ = false, pending_ = false, done_ = false;
};

}  // namespace

Compression sniff_compression(std::span<const std::byte> head) {
  const auto starts = [head](std::string_view magic) {
    return head.size() >= magic.size() && std::memcmp(head.data(), magic.data(), magic.size()) == 0;
  };
  using namespace std::string_view_literals;
  if (starts("\x1f\x8b\x08"sv)) return Compression::gzip;
  if (starts("\x28\xb5\x2f\xfd"sv)) return Compression::zstd;
  // A skippable frame, with which some writers begin.
  if (head.size() >= 4 && (head[0] & std::byte{0xf0}) == std::byte{0x50} &&
      starts(std::string{static_cast<char>(head[0]), '\x2a', '\x4d', '\x18'}))
    return Compression::zstd;
  if (starts("\xfd\x37zXZ\0"sv)) return Compression::xz;
  if (starts("BZh"sv)) return Compression::bzip2;
  return Compression::none;
}

Result<std::unique_ptr<ByteSource>> decompress(ByteSource& source) {
  std::vector<std::byte> head(10);
  head.resize(TRY(read_full(source, head)));
  const Compression how = sniff_compression(head);
  PrefixSource whole(std::move(head), source);
  switch (how) {
    case Compression::none: return std::make_unique<PrefixSource>(std::move(whole));
    case Compression::gzip: return std::make_unique<GzipSource>(std::move(whole));
    case Compression::zstd: return std::make_unique<ZstdSource>(std::move(whole));
    case Compression::bzip2: return std::make_unique<Bzip2Source>(std::move(whole));
    case Compression::xz: break;
  }
  auto out = std::make_unique<XzSource>(std::move(whole));
  CHECK(out->start());
  return out;
}

}  // namespace corten::store
