#include "erofs/read_ahead.h"

#include <fcntl.h>

#include <algorithm>

namespace corten::erofs {

void read_ahead(int image, std::uint64_t offset, std::uint64_t count) {
  // Of one request the kernel reads no more than the device's read-ahead, and forgets the rest: 128 KiB at most places.
  constexpr std::uint64_t piece = 128U << 10;
  for (std::uint64_t at = 0; at < count; at += piece) {
    const std::uint64_t size = std::min(piece, count - at);
    ::posix_fadvise(image, static_cast<off_t>(offset + at), static_cast<off_t>(size), POSIX_FADV_WILLNEED);
  }
}

}  // namespace corten::erofs
