// http and https URLs as registries hand them out: in Location and Link fields, as a token realm, as a layer's source.
//
// Whoever sends them may be hostile, so there is one spelling of everything: no user names, no control characters, no
// addresses in octal or as one number.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.h"

namespace corten::remote {

struct Url {
  bool tls = true;
  std::string host;  // lower case, IPv6 without brackets
  std::uint16_t port = 443;
  std::string target = "/";  // path and query

  // "https://host", with the port where it is not the scheme's own.
  std::string origin() const;
  // "host" or "host:port", IPv6 in brackets.
  std::string authority() const;
  // For error texts: without the query, which may hold secrets.
  std::string shown() const;
  bool same_origin(const Url& other) const { return tls == other.tls && host == other.host && port == other.port; }
  bool operator==(const Url&) const = default;
};

// An absolute URL of at most 16 KiB; a fragment is dropped. `invalid` otherwise.
Result<Url> parse_url(std::string_view text);
// RFC 3986 section 5 for what servers send: absolute, "//host/path", "/path", "?query" or a relative path.
Result<Url> resolve_url(const Url& base, std::string_view text);
// "host", "host:5000", "[::1]:5000"; port 0 where none is given.
Result<Url> parse_authority(std::string_view text, bool tls);
// The target with one more parameter, which is escaped.
std::string with_parameter(std::string_view target, std::string_view name, std::string_view value);

}  // namespace corten::remote
