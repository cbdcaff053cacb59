#include "network/ipam.h"

namespace corten::network {

Ipam::Ipam(Ipv4Prefix subnet, Ipv4Prefix range, std::span<const Ipv4> reserved)
    : subnet_(subnet.masked()), range_(range.masked()), cursor_(range_.network().value - subnet_.network().value) {
  // A /31 or /32 has no network or broadcast address (RFC 3021).
  if (subnet_.length < 31) {
    set(0, true);
    set(subnet_.broadcast().value - subnet_.network().value, true);
  }
  for (const Ipv4 address : reserved)
    if (subnet_.contains(address)) set(address.value - subnet_.network().value, true);
  if (cursor_ > 0) --cursor_;
}

bool Ipam::test(std::uint32_t offset) const {
  const auto word = words_.find(offset / 64);
  return word != words_.end() && (word->second >> (offset % 64) & 1) != 0;
}

void Ipam::set(std::uint32_t offset, bool value) {
  const std::uint64_t bit = std::uint64_t{1} << (offset % 64);
  if (value) {
    words_[offset / 64] |= bit;
    return;
  }
  const auto word = words_.find(offset / 64);
  if (word == words_.end()) return;
  word->second &= ~bit;
  if (word->second == 0) words_.erase(word);
}

std::optional<Ipv4> Ipam::take() {
  const MutexLock lock(mutex_);
  const std::uint32_t base = subnet_.network().value;
  const std::uint32_t first = range_.network().value - base;
  const std::uint64_t size = std::uint64_t{range_.broadcast().value - range_.network().value} + 1;
  const bool inside = cursor_ >= first && cursor_ - first < size;
  std::uint32_t offset = inside ? cursor_ - first : static_cast<std::uint32_t>(size - 1);
  for (std::uint64_t tried = 0; tried < size; ++tried) {
    offset = static_cast<std::uint32_t>((std::uint64_t{offset} + 1) % size);
    if (test(first + offset)) continue;
    set(first + offset, true);
    cursor_ = first + offset;
    ++used_;
    return Ipv4{base + cursor_};
  }
  return std::nullopt;
}

Result<> Ipam::take(Ipv4 address) {
  const MutexLock lock(mutex_);
  if (!subnet_.contains(address))
    return fail(ErrorKind::invalid, "no configured subnet contains IP address {}", to_string(address));
  const std::uint32_t offset = address.value - subnet_.network().value;
  if (test(offset)) return fail(ErrorKind::conflict, "Address already in use");
  set(offset, true);
  ++used_;
  return {};
}

void Ipam::give(Ipv4 address) {
  const MutexLock lock(mutex_);
  if (!subnet_.contains(address)) return;
  const std::uint32_t offset = address.value - subnet_.network().value;
  if (!test(offset)) return;
  set(offset, false);
  --used_;
}

std::size_t Ipam::used() const {
  const MutexLock lock(mutex_);
  return used_;
}

}  // namespace corten::network
