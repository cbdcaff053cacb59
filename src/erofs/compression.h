// Files as LZ4-compressed extents. A file is cut into chunks of 64 KiB; each becomes one physical cluster of as many
// blocks as it needs, its bytes at the blocks' end, or stays as it is when it would not shrink by a block. A chunk
// needs nothing of the others, and where it lies follows from how many blocks those before it take: one byte a chunk is
// all that must be kept until the index is written.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "erofs/format.h"

namespace corten::erofs {

inline constexpr std::uint64_t chunk_size = 64U << 10;
// Of larger files the index would grow large, with nothing to show for it where they are holes.
inline constexpr std::uint64_t compressed_size_max = 1ULL << 30;
inline constexpr std::uint16_t cluster_blocks_max = chunk_size / block_size;
// A chunk's byte when its blocks are not compressed.
inline constexpr std::byte stored_plain{0};

constexpr std::uint64_t chunks_of(std::uint64_t size) { return (size + chunk_size - 1) / chunk_size; }
// Bytes of header and index behind an inode whose attributes end `head` bytes after its begin.
constexpr std::uint64_t index_size(std::uint64_t head, std::uint64_t size) {
  return round_up(head, 8) - head + sizeof(MapHeader) + 8 + round_up(size, block_size) / block_size * 8;
}

// Makes one chunk after the other into a physical cluster.
class ChunkCompressor {
 public:
  ChunkCompressor();
  ~ChunkCompressor();
  // Whole blocks, valid until the next call; none when they would not be fewer than the bytes fill.
  std::span<const std::byte> compress(std::span<const std::byte> chunk);

 private:
  std::unique_ptr<std::byte[]> state_, blocks_;
};

// Header and index for a file of `size` bytes whose first block is `start`, from its chunks' bytes, into `to`, which
// has index_size(head, size) bytes, all zero.
void write_index(std::uint64_t head, std::uint64_t size, std::uint32_t start, std::span<const std::byte> chunks,
                 std::span<std::byte> to);

}  // namespace corten::erofs
