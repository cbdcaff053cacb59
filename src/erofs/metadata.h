// The last part of making an image: every inode gets its place, then attributes, inodes and directories are written.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "erofs/directory.h"
#include "erofs/format.h"
#include "erofs/hash.h"
#include "erofs/output.h"
#include "erofs/tree.h"
#include "erofs/xattrs.h"

namespace corten::erofs {

// Gives out places for inodes. What belongs to one inode lies in one block (only attributes and indexes of more than a
// block do not); the rest of some blocks is kept for smaller ones that come later.
class InodePlaces {
 public:
  InodePlaces();
  // The node number for an inode with so many bytes, all that follows it among them.
  std::uint64_t take(std::uint32_t bytes);
  std::uint32_t blocks() const { return blocks_; }

 private:
  struct Open {
    std::uint32_t block, used;
  };
  void open(std::uint32_t block, std::uint32_t used);
  std::vector<Open> open_;
  std::uint32_t blocks_ = 0;
};

class MetadataWriter {
 public:
  MetadataWriter(Tree& tree, const Stash& stash, const XattrTable& xattrs, Output& output);

  struct Summary {
    std::uint32_t xattr_blkaddr = 0, meta_blkaddr = 0;
    std::uint64_t root_nid = 0;
    std::uint64_t inodes = 0, entries = 0, file_bytes = 0;
    bool compressed = false;             // some file is
    std::array<std::uint64_t, 2> sum{};  // of all that was written
  };
  // Fails (invalid) when the image would pass 2^32 blocks.
  Result<Summary> write(SipHash sum);

 private:
  void place_all();
  void place(std::uint32_t number);
  Result<> write_inodes();
  Result<> write_inode(std::uint32_t number);
  Result<> write_directories();
  Result<> emit(std::span<const std::byte> bytes);

  Tree& tree_;
  const Stash& stash_;
  const XattrTable& xattrs_;
  Output& output_;
  Children children_;
  InodePlaces places_;
  SipHash sum_;
  Summary summary_;
  std::vector<std::uint32_t> order_;        // placed inodes
  std::vector<std::uint32_t> with_blocks_;  // directories (names) with blocks of their own
  std::uint32_t directory_blocks_ = 0;
  std::uint32_t directory_start_ = 0;
  std::uint64_t cursor_ = 0;  // bytes of inodes written
  std::vector<std::byte> scratch_;
  bool too_large_ = false;
};

// Block 0.
std::array<std::byte, block_size> super_block(const MetadataWriter::Summary& summary, std::uint64_t blocks);

// Bytes of data that follow the inode rather than lie in blocks; for the first, of data that is not compressed.
std::uint32_t inline_tail(std::uint64_t size, std::uint32_t xattr_size);
std::uint32_t inline_tail(const Inode& inode);

}  // namespace corten::erofs
