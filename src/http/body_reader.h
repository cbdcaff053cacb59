// Internal: reads the body of one message off a stream, whatever its framing.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "base/error.h"
#include "http/chunk_decoder.h"
#include "http/head.h"
#include "http/stream.h"

namespace corten::http {

class BodyReader {
 public:
  // Bytes of the body may be in `buffer` already; bytes behind it stay there.
  BodyReader(Stream& stream, InputBuffer& buffer, Framing framing, std::uint64_t length);

  // 0 at the body's end. invalid: broken framing; cancelled: the peer went away before the end; deadline.
  Result<std::size_t> read(std::span<std::byte> into, Deadline deadline);
  bool at_end() const { return done_; }
  // Bytes known to be missing; nullopt where the length is not announced.
  std::optional<std::uint64_t> remaining() const;

 private:
  Result<std::size_t> read_plain(std::span<std::byte> into, Deadline deadline);
  Result<std::size_t> read_chunked(std::span<std::byte> into, Deadline deadline);

  Stream& stream_;
  InputBuffer& buffer_;
  Framing framing_;
  std::uint64_t remaining_ = 0;
  std::optional<ChunkDecoder> chunks_;
  bool done_ = false;
  bool broken_ = false;
};

}  // namespace corten::http
