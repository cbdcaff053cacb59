// Internal: takes the chunked coding off (RFC 9112 section 7.1).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "base/error.h"

namespace corten::http {

// Works on any cut of the input, a byte at a time if need be. Chunk extensions and trailers are dropped; their lines
// are bounded. Not Beast's: its own decoder asserts on an empty body that arrives in pieces.
class ChunkDecoder {
 public:
  struct Step {
    std::size_t consumed = 0;  // of `in`
    std::size_t produced = 0;  // in `out`
    bool done = false;         // the last chunk and its trailers are consumed
  };
  // Takes as much of `in` as there is room in `out` for. invalid: not the chunked coding (after what came before it has
  // been handed out by an earlier call).
  Result<Step> decode(std::string_view in, std::span<std::byte> out);

 private:
  enum class State : std::uint8_t {
    size_start,  // at the first digit of a size
    size,        // behind at least one digit
    extension,   // behind the ';'
    size_lf,     // the CR of the size line has come
    data,        // left_ bytes of it
    data_cr,
    data_lf,
    trailer_start,  // at the start of a line
    trailer,
    trailer_lf,
    end_lf,  // the CR of the empty line has come
    done,
  };
  // False: the byte must not be here.
  bool take(char c);
  bool take_digit(char c);
  bool take_trailer(char c);

  State state_ = State::size_start;
  std::uint64_t left_ = 0;       // of this chunk
  std::size_t line_length_ = 0;  // of the size line, or of all trailers
  bool trailer_has_colon_ = false;
};

}  // namespace corten::http
