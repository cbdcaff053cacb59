#include "erofs/compression.h"

#include <lz4.h>

#include <algorithm>
#include <cstring>

namespace corten::erofs {

ChunkCompressor::ChunkCompressor()
    : state_(std::make_unique_for_overwrite<std::byte[]>(static_cast<std::size_t>(LZ4_sizeofState()))),
      blocks_(std::make_unique_for_overwrite<std::byte[]>(chunk_size)) {}

ChunkCompressor::~ChunkCompressor() = default;

std::span<const std::byte> ChunkCompressor::compress(std::span<const std::byte> chunk) {
  const std::uint64_t fewer = (std::max<std::uint64_t>(chunk.size(), 1) - 1) / block_size * block_size;
  if (fewer == 0) return {};
  // One block is left free before it for the zeros in front.
  char* to = reinterpret_cast<char*>(blocks_.get() + block_size);
  const int done = LZ4_compress_fast_extState(state_.get(), reinterpret_cast<const char*>(chunk.data()), to,
                                              static_cast<int>(chunk.size()), static_cast<int>(fewer), 1);
  if (done <= 0) return {};
  const auto used = static_cast<std::uint64_t>(done);
  const std::uint64_t zeros = round_up(used, block_size) - used;
  std::byte* begin = blocks_.get() + (block_size - zeros);
  std::fill_n(begin, zeros, std::byte{});
  return {begin, zeros + used};
}

namespace {

// Entries one after the other.
class Index {
 public:
  explicit Index(std::span<std::byte> to) : to_(to) {}
  void head(ClusterType type, std::uint32_t block, std::uint64_t offset = 0) { add(type, offset, block); }
  void nonhead(std::uint32_t before, std::uint32_t after) { add(ClusterType::nonhead, 0, before | after << 16); }

 private:
  void add(ClusterType type, std::uint64_t offset, std::uint32_t place) {
    ClusterIndex entry;
    entry.di_advise = static_cast<std::uint16_t>(type);
    entry.di_clusterofs = static_cast<std::uint16_t>(offset);
    entry.di_u = place;
    std::memcpy(to_.data(), &entry, sizeof entry);
    to_ = to_.subspan(sizeof entry);
  }
  std::span<std::byte> to_;
};

}  // namespace

void write_index(std::uint64_t head, std::uint64_t size, std::uint32_t start, std::span<const std::byte> chunks,
                 std::span<std::byte> to) {
  MapHeader header;
  header.h_advise = advise_big_pcluster;
  const std::uint64_t aligned = round_up(head, 8) - head;
  std::memcpy(to.data() + aligned, &header, sizeof header);
  Index index(to.subspan(aligned + sizeof header + 8));
  for (const std::byte chunk : chunks) {
    const std::uint64_t bytes = std::min(size, chunk_size);
    size -= bytes;
    const auto whole = static_cast<std::uint32_t>(bytes / block_size);
    if (chunk == stored_plain) {
      const std::uint32_t blocks = whole + (bytes % block_size != 0 ? 1 : 0);
      for (std::uint32_t i = 0; i < blocks; ++i) index.head(ClusterType::plain, start++);
      continue;
    }
    const auto blocks = std::to_integer<std::uint32_t>(chunk);
    index.head(ClusterType::head, start);
    for (std::uint32_t i = 1; i < whole; ++i) index.nonhead(i == 1 ? nonhead_block_count | blocks : i, whole - i);
    // The file's end within a block: where the extent ends is said as if another began there.
    if (bytes % block_size != 0) index.head(ClusterType::plain, 0, bytes % block_size);
    start += blocks;
  }
}

}  // namespace corten::erofs
