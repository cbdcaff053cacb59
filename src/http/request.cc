#include "http/request.h"

#include <array>

namespace corten::http {

Result<std::string> Request::read_all(std::size_t limit) {
  std::string text;
  if (content_length && *content_length > limit) {
    body_too_large = true;
    return fail(ErrorKind::invalid, "the request's body is larger than {} bytes", limit);
  }
  if (content_length) text.reserve(static_cast<std::size_t>(*content_length));
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
