// What an archive may cost, and the holes of its sparse files: the same whether it becomes files or an image. Private
// to extract.cc and erofs_layer.cc.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>

#include "store/archive.h"
#include "store/disk_reserve.h"
#include "store/tar.h"

namespace corten::store {

class ExtractBudget {
 public:
  // `fd` is on the file system that is written to (borrowed); `entry_cost` what an entry takes there beside its
  // content.
  ExtractBudget(const ExtractLimits& limits, int fd, std::uint64_t entry_cost)
      : limits_(limits), fd_(fd), entry_cost_(entry_cost) {}

  const ExtractStats& stats() const { return stats_; }

  Result<> start() { return check_disk(0); }
  Result<> add_entry() {
    if (++stats_.entries > limits_.entries)
      return fail(ErrorKind::invalid, "archive has more than {} entries", limits_.entries);
    return {};
  }
  // Before each entry that add_entry has let in.
  Result<> pay_entry() { return check_disk(entry_cost_); }
  // The size of a regular file, holes included.
  Result<> add_bytes(std::uint64_t size) {
    if (size > limits_.bytes - stats_.bytes)
      return fail(ErrorKind::invalid, "archive has more than {} bytes of content", limits_.bytes);
    stats_.bytes += size;
    return {};
  }
  // A bomb ends here, before the disk is full to the last block.
  Result<> check_disk(std::uint64_t about_to_write) {
    unchecked_ += about_to_write;
    if (about_to_write != 0 && unchecked_ < check_every) return {};
    unchecked_ = 0;
    return require_disk_reserve(fd_);
  }

 private:
  // How much is written between two looks at the disk's reserve.
  static constexpr std::uint64_t check_every = 64ULL << 20;

  const ExtractLimits& limits_;
  const int fd_;
  const std::uint64_t entry_cost_;
  ExtractStats stats_;
  std::uint64_t unchecked_ = 0;
};

// Reads the pieces of a sparse entry and gives each to `put(bytes, offset)`. The reader has checked that they are in
// order and within the size.
template <class Put>
Result<> for_each_sparse_piece(TarReader& reader, const TarEntry& entry, Put put) {
  std::span<const std::byte> have;
  for (const TarSparse& piece : *entry.sparse) {
    for (std::uint64_t done = 0; done < piece.size;) {
      if (have.empty()) have = TRY(reader.chunk());
      if (have.empty()) return fail(ErrorKind::invalid, "sparse file ends early");
      const auto count = static_cast<std::size_t>(std::min<std::uint64_t>(have.size(), piece.size - done));
      CHECK(put(have.first(count), piece.offset + done));
      have = have.subspan(count);
      done += count;
    }
  }
  return {};
}

}  // namespace corten::store
