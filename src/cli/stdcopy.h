// Docker's stream frames: 8 bytes (stream, 0, 0, 0, length big endian), then that many bytes.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "base/error.h"

namespace corten::cli {

// Takes frames apart as they arrive in pieces and writes them to two descriptors; -1 drops. Without `multiplexed` bytes
// pass to `out` as they are.
class FrameReader {
 public:
  FrameReader(bool multiplexed, int out, int err) : multiplexed_(multiplexed), out_(out), err_(err) {}
  // invalid: an unknown stream number.
  Result<> feed(std::string_view bytes);

 private:
  Result<> write_to(int fd, std::string_view bytes) const;

  bool multiplexed_;
  int out_;
  int err_;
  std::string header_;
  std::size_t left_ = 0;
  int target_ = -1;
};

}  // namespace corten::cli
