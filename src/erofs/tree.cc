#include "erofs/tree.h"

#include <algorithm>
#include <cstring>
#include <span>

namespace corten::erofs {

Tree::Tree(const SipHash::Key& key) : key_(key), table_(1024, none) {
  inodes_.push(directory_inode());
  names_.push({.parent = top, .text = keep(""), .inode = 0});
}

std::uint32_t Tree::keep(std::string_view text) {
  if (text_used_ + 1 + text.size() > 1U << text_bits) {
    texts_.push_back(std::make_unique_for_overwrite<char[]>(1U << text_bits));
    text_used_ = 0;
  }
  char* to = texts_.back().get() + text_used_;
  *to = static_cast<char>(text.size());
  if (!text.empty()) std::memcpy(to + 1, text.data(), text.size());
  const auto at = static_cast<std::uint32_t>((texts_.size() - 1) << text_bits | text_used_);
  text_used_ += static_cast<std::uint32_t>(1 + text.size());
  return at;
}

std::string_view Tree::text(std::uint32_t name) const {
  const std::uint32_t at = names_[name].text;
  const char* from = texts_[at >> text_bits].get() + (at & ((1U << text_bits) - 1));
  return {from + 1, static_cast<unsigned char>(*from)};
}

bool Tree::has_room() const {
  constexpr std::uint32_t names_of_a_path = 1U << 17, pieces_of_a_path = 1U << 10;
  return names_.size() < none - names_of_a_path && inodes_.size() < none - names_of_a_path &&
         texts_.size() < (1U << (32 - text_bits)) - pieces_of_a_path;
}

std::size_t Tree::hash(std::uint32_t parent, std::string_view text) const {
  SipHash sum({key_[0] ^ parent, key_[1]});
  sum.update(std::as_bytes(std::span(text)));
  return sum.finish()[0];
}

// Where the name is, or the free place where it would be.
std::size_t Tree::slot(std::uint32_t parent, std::string_view wanted) const {
  const std::size_t mask = table_.size() - 1;
  for (std::size_t at = hash(parent, wanted) & mask;; at = (at + 1) & mask) {
    const std::uint32_t have = table_[at];
    if (have == none || (names_[have].parent == parent && text(have) == wanted)) return at;
  }
}

std::uint32_t Tree::find(std::uint32_t parent, std::string_view text) const { return table_[slot(parent, text)]; }

void Tree::grow() {
  std::vector<std::uint32_t> old(table_.size() * 2, none);
  old.swap(table_);
  for (const std::uint32_t name : old)
    if (name != none) table_[slot(names_[name].parent, text(name))] = name;
}

std::uint32_t Tree::add_name(std::uint32_t parent, std::string_view text, std::uint32_t inode) {
  if (table_used_ >= table_.size() / 4 * 3) grow();
  std::uint32_t& place = table_[slot(parent, text)];
  if (place == none) {
    ++table_used_;
  } else {
    names_[place].inode = none;
  }
  place = names_.push({.parent = parent, .text = keep(text), .inode = inode});
  return place;
}

Children::Children(const Tree& tree) : begin_(tree.name_count() + 1, 0) {
  const std::uint32_t count = tree.name_count();
  const auto lives = [&tree](std::uint32_t name) { return name != Tree::top && tree.name(name).inode != none; };
  for (std::uint32_t name = 0; name < count; ++name)
    if (lives(name)) ++begin_[tree.name(name).parent + 1];
  for (std::uint32_t name = 0; name < count; ++name) begin_[name + 1] += begin_[name];
  order_.resize(begin_[count]);
  // Each directory's begin serves as its cursor from behind, so that no third array is needed.
  for (std::uint32_t name = 0; name < count; ++name)
    if (lives(name)) order_[begin_[tree.name(name).parent]++] = name;
  for (std::uint32_t name = count; name > 0; --name) begin_[name] = begin_[name - 1];
  begin_[0] = 0;
  for (std::uint32_t name = 0; name < count; ++name)
    std::sort(order_.begin() + begin_[name], order_.begin() + begin_[name + 1],
              [&tree](std::uint32_t a, std::uint32_t b) { return tree.text(a) < tree.text(b); });
}

}  // namespace corten::erofs
