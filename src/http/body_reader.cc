#include "http/body_reader.h"

#include <algorithm>
#include <cstring>
#include <limits>

namespace corten::http {
namespace {

constexpr std::size_t chunk_read_room = 32 << 10;

}  // namespace

BodyReader::BodyReader(Stream& stream, InputBuffer& buffer, Framing framing, std::uint64_t length)
    : stream_(stream), buffer_(buffer), framing_(framing) {
  switch (framing) {
    case Framing::none: done_ = true; break;
    case Framing::length:
      remaining_ = length;
      done_ = length == 0;
      break;
    case Framing::chunked: chunks_.emplace(); break;
    case Framing::until_close: remaining_ = std::numeric_limits<std::uint64_t>::max(); break;
  }
}

std::optional<std::uint64_t> BodyReader::remaining() const {
  if (done_) return 0;
  if (framing_ == Framing::length) return remaining_;
  return std::nullopt;
}

Result<std::size_t> BodyReader::read(std::span<std::byte> into, Deadline deadline) {
  if (done_ || into.empty()) return 0;
  if (broken_) return fail(ErrorKind::invalid, "the body is broken");
  auto count = framing_ == Framing::chunked ? read_chunked(into, deadline) : read_plain(into, deadline);
  if (!count) broken_ = true;
  return count;
}

Result<std::size_t> BodyReader::read_plain(std::span<std::byte> into, Deadline deadline) {
  const auto want = static_cast<std::size_t>(std::min<std::uint64_t>(into.size(), remaining_));
  std::size_t count = std::min(want, buffer_.size());
  if (count > 0) {
    std::memcpy(into.data(), buffer_.view().data(), count);
    buffer_.consume(count);
  } else {
    count = TRY(stream_.read_some({reinterpret_cast<char*>(into.data()), want}, deadline));
  }
  if (framing_ == Framing::until_close) {
    done_ = count == 0;
    return count;
  }
  if (count == 0)
    return fail(ErrorKind::cancelled, "the peer closed the connection {} bytes before the end of the body", remaining_);
  remaining_ -= count;
  done_ = remaining_ == 0;
  return count;
}

Result<std::size_t> BodyReader::read_chunked(std::span<std::byte> into, Deadline deadline) {
  for (;;) {
    if (!buffer_.empty()) {
      const auto step = TRY(chunks_->decode(buffer_.view(), into));
      buffer_.consume(step.consumed);
      done_ = step.done;
      if (step.produced > 0 || done_) return step.produced;
    }
    if (TRY(fill(stream_, buffer_, deadline, chunk_read_room)) == 0)
      return fail(ErrorKind::cancelled, "the peer closed the connection before the end of the body");
  }
}

}  // namespace corten::http
