#include "erofs/hash.h"

#include <bit>
#include <cstring>

namespace corten::erofs {
namespace {

void round(std::array<std::uint64_t, 4>& v) {
  v[0] += v[1], v[1] = std::rotl(v[1], 13), v[1] ^= v[0], v[0] = std::rotl(v[0], 32);
  v[2] += v[3], v[3] = std::rotl(v[3], 16), v[3] ^= v[2];
  v[0] += v[3], v[3] = std::rotl(v[3], 21), v[3] ^= v[0];
  v[2] += v[1], v[1] = std::rotl(v[1], 17), v[1] ^= v[2], v[2] = std::rotl(v[2], 32);
}

std::uint64_t load(const std::byte* from, std::size_t size) {
  std::uint64_t value = 0;
  if constexpr (std::endian::native == std::endian::little) {
    if (size == 8) {
      std::memcpy(&value, from, 8);
      return value;
    }
  }
  for (std::size_t i = 0; i < size; ++i) value |= static_cast<std::uint64_t>(from[i]) << (8 * i);
  return value;
}

constexpr std::array<std::uint32_t, 256> crc_table = [] {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t i = 0; i < 256; ++i) {
    std::uint32_t value = i;
    for (int bit = 0; bit < 8; ++bit) value = value >> 1 ^ ((value & 1) != 0 ? 0x82F63B78U : 0U);
    table[i] = value;
  }
  return table;
}();

}  // namespace

SipHash::SipHash(const Key& key)
    : state_{key[0] ^ 0x736f6d6570736575, key[1] ^ 0x646f72616e646f6d ^ 0xee, key[0] ^ 0x6c7967656e657261,
             key[1] ^ 0x7465646279746573} {}

void SipHash::word(std::uint64_t value) {
  state_[3] ^= value;
  round(state_);
  state_[0] ^= value;
}

void SipHash::update(std::span<const std::byte> bytes) {
  total_ += bytes.size();
  const std::byte* at = bytes.data();
  std::size_t left = bytes.size();
  while (pending_size_ > 0 && left > 0) {
    pending_[pending_size_++] = *at++;
    --left;
    if (pending_size_ == 8) {
      word(load(pending_.data(), 8));
      pending_size_ = 0;
    }
  }
  for (; left >= 8; at += 8, left -= 8) word(load(at, 8));
  for (; left > 0; --left) pending_[pending_size_++] = *at++;
}

std::array<std::uint64_t, 2> SipHash::finish() const {
  SipHash end = *this;
  end.word(load(pending_.data(), pending_size_) | total_ << 56);
  std::array<std::uint64_t, 2> out{};
  std::array<std::uint64_t, 4>& v = end.state_;
  v[2] ^= 0xee;
  for (int i = 0; i < 3; ++i) round(v);
  out[0] = v[0] ^ v[1] ^ v[2] ^ v[3];
  v[1] ^= 0xdd;
  for (int i = 0; i < 3; ++i) round(v);
  out[1] = v[0] ^ v[1] ^ v[2] ^ v[3];
  return out;
}

std::uint32_t crc32c(std::uint32_t crc, std::span<const std::byte> bytes) {
  for (const std::byte byte : bytes) crc = crc >> 8 ^ crc_table[(crc ^ static_cast<std::uint8_t>(byte)) & 0xff];
  return crc;
}

}  // namespace corten::erofs
