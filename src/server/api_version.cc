#include "server/api_version.h"

#include <charconv>

namespace corten::server {

Result<ApiVersion> parse_api_version(std::string_view text) {
  ApiVersion version;
  const char* const end = text.data() + text.size();
  const auto major = std::from_chars(text.data(), end, version.major);
  if (major.ec != std::errc() || major.ptr == end || *major.ptr != '.')
    return fail(ErrorKind::invalid, "invalid API version \"{}\"", text);
  const auto minor = std::from_chars(major.ptr + 1, end, version.minor);
  if (minor.ec != std::errc() || minor.ptr != end) return fail(ErrorKind::invalid, "invalid API version \"{}\"", text);
  if (version < minimum_version)
    return fail(ErrorKind::invalid,
                "client version {} is too old. Minimum supported API version is {}, please upgrade your client to a "
                "newer version",
                version.text(), minimum_version.text());
  if (version > maximum_version)
    return fail(ErrorKind::invalid, "client version {} is too new. Maximum supported API version is {}", version.text(),
                maximum_version.text());
  return version;
}

}  // namespace corten::server
