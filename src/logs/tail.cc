// Finding the beginning of the last N records without reading what is before them.
#include <unistd.h>

#include <algorithm>
#include <array>
#include <deque>

#include "logs/local_format.h"
#include "logs/record_parser.h"

namespace corten::logs {
namespace {

constexpr std::size_t block_size = 64U << 10;

Result<> read_exactly(int fd, char* out, std::size_t size, std::uint64_t offset) {
  while (size > 0) {
    const ssize_t got = ::pread(fd, out, size, static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return sys_fail("read a log file");
    if (got == 0) return fail(ErrorKind::invalid, "a log file became shorter while it was read");
    out += got;
    size -= static_cast<std::size_t>(got);
    offset += static_cast<std::uint64_t>(got);
  }
  return {};
}

Result<TailPosition> find_json_tail(int fd, std::uint64_t size, std::uint64_t count) {
  std::string block(block_size, '\0');
  TailPosition tail{size, 0};
  bool first = true;
  std::uint64_t end = size;
  while (end > 0) {
    const auto length = static_cast<std::size_t>(std::min<std::uint64_t>(block_size, end));
    CHECK(read_exactly(fd, block.data(), length, end - length));
    for (std::size_t i = length; i > 0; --i) {
      if (block[i - 1] != '\n') continue;
      // The very last line end closes the last record; every other one precedes the record counted.
      const std::uint64_t begin = end - length + i;
      if (first) {
        first = false;
        tail.offset = begin;
        continue;
      }
      tail = {begin, tail.found + 1};
      if (tail.found == count) return tail;
    }
    end -= length;
  }
  if (!first) tail = {0, tail.found + 1};
  return tail;
}

// A file whose end is torn is read from the front.
Result<TailPosition> find_local_tail_forward(int fd, std::uint64_t size, std::uint64_t count) {
  std::deque<std::uint64_t> begins;
  std::uint64_t at = 0;
  std::array<char, 4> word{};
  while (at + local_record_frame <= size) {
    CHECK(read_exactly(fd, word.data(), word.size(), at));
    const std::uint32_t body = load_local_size(word.data());
    if (!plausible_local_size(body) || at + body + local_record_frame > size) break;
    begins.push_back(at);
    if (begins.size() > count) begins.pop_front();
    at += body + local_record_frame;
  }
  if (begins.empty()) return TailPosition{at, 0};
  return TailPosition{begins.front(), begins.size()};
}

Result<TailPosition> find_local_tail(int fd, std::uint64_t size, std::uint64_t count) {
  TailPosition tail{size, 0};
  std::array<char, 4> word{};
  while (tail.offset > 0 && tail.found < count) {
    if (tail.offset < local_record_frame) return find_local_tail_forward(fd, size, count);
    CHECK(read_exactly(fd, word.data(), word.size(), tail.offset - 4));
    const std::uint64_t body = load_local_size(word.data());
    if (!plausible_local_size(static_cast<std::uint32_t>(body)) || body + local_record_frame > tail.offset)
      return find_local_tail_forward(fd, size, count);
    const std::uint64_t begin = tail.offset - body - local_record_frame;
    CHECK(read_exactly(fd, word.data(), word.size(), begin));
    if (load_local_size(word.data()) != body) return find_local_tail_forward(fd, size, count);
    tail = {begin, tail.found + 1};
  }
  return tail;
}

}  // namespace

Result<TailPosition> find_tail(Format format, int fd, std::uint64_t size, std::uint64_t count) {
  if (count == 0) return TailPosition{size, 0};
  return format == Format::json_file ? find_json_tail(fd, size, count) : find_local_tail(fd, size, count);
}

}  // namespace corten::logs
