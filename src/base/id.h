// Identifiers as Docker users know them: 64 hexadecimal digits, shown as 12.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

namespace corten {

// 32 random bytes as 64 lower-case hexadecimal digits. Never all decimal in the first 12, so that a short id is never
// mistaken for a number.
std::string random_id();
// The first 12 characters, without a "sha256:" in front.
std::string_view short_id(std::string_view id);
bool is_hex(std::string_view text);
std::string to_hex(std::span<const std::byte> bytes);

}  // namespace corten
