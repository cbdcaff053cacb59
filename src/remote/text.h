// Text from outside made fit for a line of ours.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "base/text.h"

namespace corten::remote {

// ASCII only.
std::string lower(std::string_view text);
using corten::trim;
// On one line without control characters and broken UTF-8 (each becomes a space or '?'), cut with "..." behind `limit`
// bytes.
std::string printable(std::string_view text, std::size_t limit);
// RFC 4648 with either alphabet, padded or not; nullopt where it is something else.
std::optional<std::string> base64_decode(std::string_view text);

}  // namespace corten::remote
