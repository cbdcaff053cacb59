// For tests: a stream that gives at most `piece` bytes at a time, as a slow peer does.
#pragma once

#include <algorithm>
#include <cstring>
#include <string>

#include "store/stream.h"

namespace corten::store {

class SlowSource : public ByteSource {
 public:
  SlowSource(std::string text, std::size_t piece) : text_(std::move(text)), piece_(piece) {}
  Result<std::size_t> read(std::span<std::byte> buffer) override {
    const std::size_t count = std::min({piece_, buffer.size(), text_.size() - at_});
    std::memcpy(buffer.data(), text_.data() + at_, count);
    at_ += count;
    return count;
  }

 private:
  std::string text_;
  std::size_t piece_;
  std::size_t at_ = 0;
};

}  // namespace corten::store
