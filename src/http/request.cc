#include "http/request.h"

#include <algorithm>
#include <array>

namespace corten::http {
namespace {

// An announced length is a promise of a stranger: memory is taken as the bytes come.
constexpr std::uint64_t max_reserve = 1 << 20;

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

std::string_view Request::upgrade() const { return headers.get("Upgrade").value_or(std::string_view()); }

}  // namespace corten::http
