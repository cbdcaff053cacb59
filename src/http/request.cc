#include "http/request.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

namespace corten::http {
namespace {

// An announced length is a promise of a stranger: memory is taken as the bytes come.
constexpr std::uint64_t max_reserve = 1 << 20;

constexpr std::uint64_t file_piece = 1 << 20;

}  // namespace

Result<std::string> Request::read_all(std::size_t limit) {
  std::string text;
  if (content_length && *content_length > limit) {
    body_too_large = true;
    return fail(ErrorKind::invalid, "the request's body is larger than {} bytes", limit);
  }
  if (content_length) text.reserve(static_cast<std::size_t>(std::min(*content_length, max_reserve)));
  std::array<std::byte, 8192> piece;
  for (;;) {
    const std::size_t count = TRY(read(piece));
    if (count == 0) return text;
    if (count > limit - text.size()) {
      body_too_large = true;
      return fail(ErrorKind::invalid, "the request's body is larger than {} bytes", limit);
    }
    text.append(reinterpret_cast<const char*>(piece.data()), count);
  }
}

Result<> ResponseWriter::write_file(int fd, std::uint64_t offset, std::uint64_t count) {
  std::string piece(static_cast<std::size_t>(std::min(count, file_piece)), '\0');
  while (count > 0) {
    const auto wanted = static_cast<std::size_t>(std::min<std::uint64_t>(count, piece.size()));
    const ssize_t got = ::pread(fd, piece.data(), wanted, static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return sys_fail("read a file for the answer");
    if (got == 0) return fail(ErrorKind::invalid, "a file for the answer ends {} bytes early", count);
    CHECK(write(std::string_view(piece).substr(0, static_cast<std::size_t>(got))));
    offset += static_cast<std::uint64_t>(got);
    count -= static_cast<std::uint64_t>(got);
  }
  return {};
}

std::string_view Request::upgrade() const { return headers.get("Upgrade").value_or(std::string_view()); }

}  // namespace corten::http
