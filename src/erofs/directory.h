// A directory's entries in the order and in the blocks in which they are stored.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "erofs/tree.h"

namespace corten::erofs {

class DirectoryView {
 public:
  // `name` is the directory's place among names.
  DirectoryView(const Tree& tree, const Children& children, std::uint32_t name);

  struct Size {
    std::uint64_t blocks = 0;  // complete ones
    std::uint32_t tail = 0;    // bytes after them
    std::uint64_t bytes() const;
  };
  Size size() const;
  // Subdirectories that live.
  std::uint32_t subdirectories() const;

  std::uint32_t count() const { return children_.count(name_) + 2; }
  // One past the last entry of the block that starts with entry `first`.
  std::uint32_t block_end(std::uint32_t first, std::uint32_t& bytes) const;
  // Entries [first, end) into a block that is zero; needs every inode's place.
  void write(std::uint32_t first, std::uint32_t end, std::span<std::byte> block) const;

 private:
  struct Item {
    std::string_view text;
    std::uint32_t inode;
  };
  Item item(std::uint32_t i) const;
  std::uint32_t before(std::string_view text) const;

  const Tree& tree_;
  const Children& children_;
  std::uint32_t name_;
  std::uint32_t dot_, dot_dot_;  // where "." and ".." stand
};

}  // namespace corten::erofs
