// Internal: the head of a message, parsed. Only head.cc knows Boost.Beast.
#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <string>
#include <string_view>

#include "base/error.h"
#include "http/headers.h"

namespace corten::http {

// How the end of a body is known (RFC 9112 section 6.3).
enum class Framing : std::uint8_t { none, length, chunked, until_close };

struct HeadLimits {
  std::size_t max_target = 32 << 10;
  std::size_t max_fields = 200;
};

struct RequestHead {
  std::string method;
  std::string raw_path;   // absolute form ("http://host/x") is reduced to its path
  std::string raw_query;  // without '?'
  Headers headers;
  int version_minor = 1;
  bool keep_alive = true;
  bool expects_continue = false;
  Framing framing = Framing::none;
  std::uint64_t length = 0;  // with Framing::length
};

struct ResponseHead {
  int status = 0;
  Headers headers;
  int version_minor = 1;
  bool keep_alive = true;
  Framing framing = Framing::none;
  std::uint64_t length = 0;
};

// What to answer to a head that is refused.
struct HeadFailure {
  int status = 400;
  std::string message;
};

// The number of bytes up to and with the empty line that ends the head, 0 where it is not complete.
// `scanned` is where an earlier search of the same bytes ended.
std::size_t head_length(std::string_view bytes, std::size_t& scanned);

// `head` ends with the empty line. Refuses all that two readers could understand differently: Content-Length beside
// Transfer-Encoding or twice, codings other than chunked, spaces before colons, bare line feeds, several Hosts.
std::expected<RequestHead, HeadFailure> parse_request_head(std::string_view head, const HeadLimits& limits);
// `to_head_request`: the answer to HEAD has no body whatever its fields say.
Result<ResponseHead> parse_response_head(std::string_view head, bool to_head_request);

}  // namespace corten::http
