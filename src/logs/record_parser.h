// Records out of bytes, for both file formats.
#pragma once

#include <string_view>

#include "logs/log_reader.h"

namespace corten::logs {

// What the bytes at the front are.
struct Parsed {
  enum class Kind : std::uint8_t {
    record,      // `length` bytes
    skipped,     // `length` bytes that are no record, with something readable after them
    needs_more,  // nothing to be said yet
    damaged,     // nothing more can be read from this file
  };
  Kind kind = Kind::needs_more;
  std::size_t length = 0;
};

// More than a writer puts in one record (16 KiB of text, each byte as six, and attributes).
inline constexpr std::size_t max_record_bytes = 1U << 20;

Parsed parse_record(Format format, std::string_view bytes, Record& out);

// One line of a json-file log without its line end; false if it is none.
bool parse_json_line(std::string_view line, Record& out);

// Where the last `count` records of a file begin that has `size` bytes, and how many there are (fewer if the file has
// fewer).
struct TailPosition {
  std::uint64_t offset = 0;
  std::uint64_t found = 0;
};
Result<TailPosition> find_tail(Format format, int fd, std::uint64_t size, std::uint64_t count);

}  // namespace corten::logs
