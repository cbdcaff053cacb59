// A growing array in pieces: growth copies nothing, so millions of elements never need their memory twice.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace corten::erofs {

template <class T, unsigned bits = 10>
class Chunked {
 public:
  std::uint32_t size() const { return size_; }
  T& operator[](std::uint32_t at) { return chunks_[at >> bits][at & mask]; }
  const T& operator[](std::uint32_t at) const { return chunks_[at >> bits][at & mask]; }
  std::uint32_t push(const T& value) {
    if ((size_ & mask) == 0) chunks_.push_back(std::make_unique_for_overwrite<T[]>(std::size_t{1} << bits));
    (*this)[size_] = value;
    return size_++;
  }

 private:
  static constexpr std::uint32_t mask = (1U << bits) - 1;
  std::vector<std::unique_ptr<T[]>> chunks_;
  std::uint32_t size_ = 0;
};

}  // namespace corten::erofs
