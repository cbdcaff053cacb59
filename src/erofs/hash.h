// The two sums the image writer needs. Neither is for security on its own: SipHash because names come from strangers
// who must not be able to make them collide, CRC-32C because the superblock has one.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace corten::erofs {

// SipHash-1-3 over pieces, with a result of 64 or 128 bits.
class SipHash {
 public:
  using Key = std::array<std::uint64_t, 2>;
  explicit SipHash(const Key& key);
  void update(std::span<const std::byte> bytes);
  std::array<std::uint64_t, 2> finish() const;

 private:
  void word(std::uint64_t value);
  std::array<std::uint64_t, 4> state_;
  std::array<std::byte, 8> pending_{};
  std::size_t pending_size_ = 0;
  std::uint64_t total_ = 0;
};

// Continues from `crc` (start with ~0U); the result is not inverted.
std::uint32_t crc32c(std::uint32_t crc, std::span<const std::byte> bytes);

}  // namespace corten::erofs
