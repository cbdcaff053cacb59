#include "base/id.h"

#include <sys/random.h>

#include <algorithm>
#include <array>
#include <cstdlib>

namespace corten {

std::string to_hex(std::span<const std::byte> bytes) {
  static constexpr std::string_view digits = "0123456789abcdef";
  std::string text;
  text.reserve(bytes.size() * 2);
  for (const std::byte value : bytes) {
    text += digits[std::to_integer<unsigned>(value) >> 4];
    text += digits[std::to_integer<unsigned>(value) & 15];
  }
  return text;
}

std::string random_id() {
  std::array<std::byte, 32> bytes;
  for (;;) {
    // getrandom with a request this small cannot be interrupted or cut short once the pool is ready.
    if (getrandom(bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size())) continue;
    std::string id = to_hex(bytes);
    if (!std::ranges::all_of(id.substr(0, 12), [](char c) { return c >= '0' && c <= '9'; })) return id;
  }
}

std::string_view short_id(std::string_view id) {
  if (const auto colon = id.find(':'); colon != std::string_view::npos) id.remove_prefix(colon + 1);
  return id.substr(0, 12);
}

bool is_hex(std::string_view text) {
  return !text.empty() &&
         std::ranges::all_of(text, [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

}  // namespace corten
