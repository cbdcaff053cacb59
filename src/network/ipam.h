// The addresses of one network: which are in use. Next-fit, so that an address that was just given back is the last to
// be given out again (peers may still have it in their caches).
//
// Nothing is stored: the engine's container records are the truth, and adopting them at boot fills the map again.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <unordered_map>

#include "base/error.h"
#include "base/mutex.h"
#include "network/address.h"

namespace corten::network {

class Ipam {
 public:
  // Addresses are taken from `range` (a part of `subnet`). The subnet's network and broadcast address and those in
  // `reserved` are never given out.
  Ipam(Ipv4Prefix subnet, Ipv4Prefix range, std::span<const Ipv4> reserved);

  // The next free address; empty when all are in use.
  std::optional<Ipv4> take();
  // This one. May be outside the range but not outside the subnet. Kinds invalid ("... no configured subnet contains
  // IP address ..."), conflict ("Address already in use").
  Result<> take(Ipv4 address);
  void give(Ipv4 address);
  std::size_t used() const;  // reserved ones not counted

 private:
  bool test(std::uint32_t offset) const REQUIRES(mutex_);
  void set(std::uint32_t offset, bool value) REQUIRES(mutex_);

  const Ipv4Prefix subnet_;
  const Ipv4Prefix range_;
  mutable Mutex mutex_;
  // One bit per address of the subnet, 64 to a word; words without a bit are left out (a subnet may be a /8).
  std::unordered_map<std::uint32_t, std::uint64_t> words_ GUARDED_BY(mutex_);
  std::uint32_t cursor_ GUARDED_BY(mutex_);  // offset of the address given out last
  std::size_t used_ GUARDED_BY(mutex_) = 0;
};

}  // namespace corten::network
