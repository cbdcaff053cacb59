// From paths to places in the tree.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "erofs/output.h"
#include "erofs/tree.h"

namespace corten::erofs {

inline constexpr std::size_t path_max = 4095;

// Relative and plain, as writer.h says; "" is fine.
Result<> check_path(std::string_view path);
// "a/b/c" → a/b and c.
std::pair<std::string_view, std::string_view> split_path(std::string_view path);

class Paths {
 public:
  Paths(Tree& tree, const Stash& stash) : tree_(tree), stash_(stash) {}

  // The directory of that checked path, symbolic links followed. One that is not there is made, with its parents, or
  // is `none`.
  Result<std::uint32_t> directory(std::string_view path, bool make);
  // Names the inode, in place of what has the name now.
  std::uint32_t put(std::uint32_t parent, std::string_view name, std::uint32_t inode);

 private:
  Result<std::uint32_t> walk(std::string_view path, bool make);
  Result<std::string> link_target(const Inode& inode) const;

  Tree& tree_;
  const Stash& stash_;
  // What was asked for last: entries of one directory follow each other.
  std::string last_path_;
  std::uint32_t last_directory_ = none;
};

}  // namespace corten::erofs
