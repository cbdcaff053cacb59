// Bringing an image's metadata into memory before it is mounted.
#pragma once

#include <cstdint>

namespace corten::erofs {

// Asks for `count` bytes of the image from `offset` on, and does not wait for them.
void read_ahead(int image, std::uint64_t offset, std::uint64_t count);

}  // namespace corten::erofs
