// A digest's 32 bytes, for files of our own that have many of them.
#pragma once

#include <array>
#include <cstddef>

#include "oci/digest.h"

namespace corten::context {

// Of one that is not empty.
inline std::array<std::byte, 32> digest_bytes(const oci::Digest& digest) {
  const auto nibble = [](char c) { return static_cast<unsigned>(c <= '9' ? c - '0' : c - 'a' + 10); };
  std::array<std::byte, 32> out{};
  const std::string_view hex = digest.hex();
  for (std::size_t i = 0; i < hex.size() / 2; ++i)
    out[i] = static_cast<std::byte>(nibble(hex[2 * i]) << 4 | nibble(hex[2 * i + 1]));
  return out;
}

}  // namespace corten::context
