#include "http/chunk_decoder.h"

#include <algorithm>
#include <cstring>
#include <limits>

namespace corten::http {
namespace {

constexpr std::size_t max_line = 16 << 10;

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

bool is_text(char c) { return c == '\t' || (static_cast<unsigned char>(c) >= 0x20 && c != 0x7f); }

}  // namespace

Result<ChunkDecoder::Step> ChunkDecoder::decode(std::string_view in, std::span<std::byte> out) {
  Step step;
  while (step.consumed < in.size() && state_ != State::done) {
    if (state_ == State::data) {
      const auto available = std::min(in.size() - step.consumed, out.size() - step.produced);
      const auto count = static_cast<std::size_t>(std::min<std::uint64_t>(left_, available));
      if (count == 0) break;
      std::memcpy(out.data() + step.produced, in.data() + step.consumed, count);
      step.consumed += count;
      step.produced += count;
      left_ -= count;
      if (left_ == 0) state_ = State::data_cr;
    } else if (take(in[step.consumed])) {
      ++step.consumed;
    } else if (step.produced > 0) {
      break;
    } else {
      return fail(ErrorKind::invalid, "malformed chunked body");
    }
  }
  step.done = state_ == State::done;
  return step;
}

bool ChunkDecoder::take(char c) {
  const auto expect = [&](char wanted, State next) {
    if (c != wanted) return false;
    state_ = next;
    return true;
  };
  switch (state_) {
    case State::size_start: line_length_ = 0; return take_digit(c);
    case State::size:
      if (c == '\r') return expect('\r', State::size_lf);
      if (c == ';') return expect(';', State::extension);
      return take_digit(c);
    case State::extension:
      if (c == '\r') return expect('\r', State::size_lf);
      return is_text(c) && ++line_length_ <= max_line;
    case State::size_lf: line_length_ = 0; return expect('\n', left_ == 0 ? State::trailer_start : State::data);
    case State::data_cr: return expect('\r', State::data_lf);
    case State::data_lf: return expect('\n', State::size_start);
    case State::trailer_start:
      if (c == '\r') return expect('\r', State::end_lf);
      trailer_has_colon_ = false;
      state_ = State::trailer;
      return take_trailer(c);
    case State::trailer:
      if (c == '\r') return trailer_has_colon_ && expect('\r', State::trailer_lf);
      return take_trailer(c);
    case State::trailer_lf: return expect('\n', State::trailer_start);
    case State::end_lf: return expect('\n', State::done);
    case State::data:
    case State::done: break;
  }
  return false;
}

bool ChunkDecoder::take_digit(char c) {
  const int digit = hex_digit(c);
  if (digit < 0 || ++line_length_ > max_line) return false;
  if (state_ == State::size_start) left_ = 0;
  if (left_ > std::numeric_limits<std::uint64_t>::max() >> 4) return false;
  left_ = left_ << 4 | static_cast<std::uint64_t>(digit);
  state_ = State::size;
  return true;
}

bool ChunkDecoder::take_trailer(char c) {
  if (c == ':') trailer_has_colon_ = true;
  return is_text(c) && ++line_length_ <= max_line;
}

}  // namespace corten::http
