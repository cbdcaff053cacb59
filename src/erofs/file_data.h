// The way of a file's bytes into the image: its blocks into the output as they come, its last piece into the stash, or
// chunks that are compressed first.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/error.h"
#include "erofs/compression.h"
#include "erofs/output.h"
#include "erofs/tree.h"

namespace corten::erofs {

class FileData {
 public:
  FileData(Output& output, Stash& stash, bool compress) : output_(output), stash_(stash) {
    if (compress) compressor_ = std::make_unique<ChunkCompressor>();
  }

  // The inode has its size and its attributes, which are the last bytes of the stash.
  void begin(const Inode& inode, bool may_compress);
  // No more than the inode's size altogether.
  Result<> write(std::span<const std::byte> bytes);
  Result<> write_zeros(std::uint64_t count);
  // All bytes have come: says where they are.
  Result<> end(Inode& inode);
  Result<> abandon();

 private:
  // A file is compressed as soon as one of its first chunks shrinks; chunks before that one lie as in a flat file.
  enum class Way : std::uint8_t { flat, undecided, compressed };

  void go_flat();
  Result<> write_flat(std::span<const std::byte> bytes);
  Result<> chunk_complete(std::span<const std::byte> chunk);
  Result<> write_chunk(std::span<const std::byte> chunk, std::span<const std::byte> packed);

  Output& output_;
  Stash& stash_;
  std::unique_ptr<ChunkCompressor> compressor_;  // none: nothing is compressed
  Way way_ = Way::flat;
  std::uint64_t size_ = 0;
  std::uint32_t xattr_size_ = 0;
  std::uint32_t start_ = 0;           // its first block
  std::uint64_t in_blocks_left_ = 0;  // flat: bytes to come for blocks
  std::uint64_t left_ = 0;            // otherwise: bytes not yet in a complete chunk, those in chunk_ among them
  std::vector<std::byte> chunk_;      // what has come of the next one
  std::vector<std::byte> chunks_;     // the complete ones' bytes for the index
};

}  // namespace corten::erofs
