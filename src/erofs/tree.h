// The names and inodes of an image that is being made, as compact as they can be kept for layers of millions of files:
// 12 bytes and its text for a name, 56 for an inode, 5 to 11 for the table that finds it.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "erofs/chunked.h"
#include "erofs/hash.h"

namespace corten::erofs {

inline constexpr std::uint32_t none = 0xffffffff;

struct Inode {
  std::uint64_t size = 0;   // of data; a device's number; of a directory, before it is placed, whether it is opaque
  std::int64_t mtime = 0;   // seconds
  std::uint64_t stash = 0;  // where the stash has its attributes and, directly after them, the data's last piece or,
                            // of a compressed file, how many blocks each of its chunks takes (compression.h)
  std::uint32_t mtime_nsec = 0;
  std::uint32_t uid = 0, gid = 0;
  std::uint32_t start = 0;  // first data block; of a directory, until it is written, among directory blocks
  std::uint32_t name = 0;   // a directory's place among names; of a compressed file, its blocks
  std::uint32_t nlink = 0;
  std::uint32_t nid = 0;  // 0: not placed
  std::uint16_t mode = 0;
  std::uint16_t xattr_icount = 0;

  bool is(unsigned type) const { return (mode & 0170000U) == type; }
  bool is_directory() const { return is(0040000); }
  // Blocks of a file that is stored compressed, else 0.
  std::uint32_t compressed_blocks() const { return is(0100000) ? name : 0; }
  bool is_symlink() const { return is(0120000); }
  // Files, links and directories have data; the others have none.
  bool has_data() const { return is(0100000) || is_symlink() || is_directory(); }
  std::uint32_t xattr_size() const { return xattr_icount == 0 ? 0 : 12 + 4 * (xattr_icount - 1U); }
};
static_assert(sizeof(Inode) == 56);

inline constexpr std::uint64_t directory_is_opaque = 1;

// A directory that no entry named.
inline Inode directory_inode() {
  Inode inode;
  inode.mode = 0040755;
  return inode;
}

struct Name {
  std::uint32_t parent = 0;  // the directory's place among names; the top is its own parent
  std::uint32_t text = 0;
  std::uint32_t inode = 0;  // `none`: replaced by a later entry
};
static_assert(sizeof(Name) == 12);

class Tree {
 public:
  static constexpr std::uint32_t top = 0;

  explicit Tree(const SipHash::Key& key);

  std::uint32_t name_count() const { return names_.size(); }
  std::uint32_t inode_count() const { return inodes_.size(); }
  const Name& name(std::uint32_t at) const { return names_[at]; }
  Inode& inode(std::uint32_t at) { return inodes_[at]; }
  const Inode& inode(std::uint32_t at) const { return inodes_[at]; }
  Inode& inode_of(std::uint32_t name) { return inodes_[names_[name].inode]; }
  const Inode& inode_of(std::uint32_t name) const { return inodes_[names_[name].inode]; }
  std::string_view text(std::uint32_t name) const;

  // The name in that directory, or `none`.
  std::uint32_t find(std::uint32_t parent, std::string_view text) const;
  // False when the next path, however long, might pass four billion names or inodes or 4 GiB of text.
  bool has_room() const;
  std::uint32_t add_inode(const Inode& inode) { return inodes_.push(inode); }
  // A new name for an inode. What had that name before, with all beneath it, is found no more. The parent is a
  // directory; has_room() was asked.
  std::uint32_t add_name(std::uint32_t parent, std::string_view text, std::uint32_t inode);

 private:
  std::size_t hash(std::uint32_t parent, std::string_view text) const;
  std::size_t slot(std::uint32_t parent, std::string_view text) const;
  void grow();
  std::uint32_t keep(std::string_view text);

  static constexpr unsigned text_bits = 16;
  SipHash::Key key_;
  Chunked<Name> names_;
  Chunked<Inode> inodes_;
  std::vector<std::unique_ptr<char[]>> texts_;  // length byte and bytes, none across a piece's end
  std::uint32_t text_used_ = 1U << text_bits;   // in the last piece
  std::vector<std::uint32_t> table_;
  std::uint32_t table_used_ = 0;
};

// Who is in which directory, in the order of names: made once, when the tree is complete.
class Children {
 public:
  explicit Children(const Tree& tree);
  std::uint32_t count(std::uint32_t directory) const { return begin_[directory + 1] - begin_[directory]; }
  std::uint32_t at(std::uint32_t directory, std::uint32_t i) const { return order_[begin_[directory] + i]; }

 private:
  std::vector<std::uint32_t> begin_, order_;
};

}  // namespace corten::erofs
