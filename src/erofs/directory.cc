#include "erofs/directory.h"

#include <sys/stat.h>

#include <cstring>

#include "erofs/format.h"

namespace corten::erofs {
namespace {

std::uint8_t file_type(const Inode& inode) {
  switch (inode.mode & S_IFMT) {
    case S_IFREG: return ft_reg_file;
    case S_IFDIR: return ft_dir;
    case S_IFCHR: return ft_chrdev;
    case S_IFBLK: return ft_blkdev;
    case S_IFIFO: return ft_fifo;
    case S_IFSOCK: return ft_sock;
    default: return ft_symlink;
  }
}

}  // namespace

std::uint64_t DirectoryView::Size::bytes() const { return blocks * block_size + tail; }

DirectoryView::DirectoryView(const Tree& tree, const Children& children, std::uint32_t name)
    : tree_(tree), children_(children), name_(name), dot_(before(".")), dot_dot_(before("..") + 1) {}

// How many of the directory's names come before this one.
std::uint32_t DirectoryView::before(std::string_view text) const {
  std::uint32_t low = 0, high = children_.count(name_);
  while (low < high) {
    const std::uint32_t middle = low + (high - low) / 2;
    if (tree_.text(children_.at(name_, middle)) < text) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

DirectoryView::Item DirectoryView::item(std::uint32_t i) const {
  if (i == dot_) return {.text = ".", .inode = tree_.name(name_).inode};
  if (i == dot_dot_) return {.text = "..", .inode = tree_.name(tree_.name(name_).parent).inode};
  const std::uint32_t child = children_.at(name_, i - (i > dot_ ? 1 : 0) - (i > dot_dot_ ? 1 : 0));
  return {.text = tree_.text(child), .inode = tree_.name(child).inode};
}

std::uint32_t DirectoryView::block_end(std::uint32_t first, std::uint32_t& bytes) const {
  bytes = 0;
  std::uint32_t end = first;
  for (; end < count(); ++end) {
    const auto more = static_cast<std::uint32_t>(sizeof(Dirent) + item(end).text.size());
    if (bytes + more > block_size) break;
    bytes += more;
  }
  return end;
}

DirectoryView::Size DirectoryView::size() const {
  Size size;
  for (std::uint32_t first = 0, bytes = 0; first < count();) {
    first = block_end(first, bytes);
    if (first < count() || bytes == block_size) {
      ++size.blocks;
    } else {
      size.tail = bytes;
    }
  }
  return size;
}

std::uint32_t DirectoryView::subdirectories() const {
  std::uint32_t found = 0;
  for (std::uint32_t i = 0; i < children_.count(name_); ++i)
    if (tree_.inode_of(children_.at(name_, i)).is_directory()) ++found;
  return found;
}

void DirectoryView::write(std::uint32_t first, std::uint32_t end, std::span<std::byte> block) const {
  std::size_t name_at = (end - first) * sizeof(Dirent);
  for (std::uint32_t i = first; i < end; ++i) {
    const Item entry = item(i);
    Dirent dirent;
    dirent.nid = tree_.inode(entry.inode).nid;
    dirent.nameoff = static_cast<std::uint16_t>(name_at);
    dirent.file_type = file_type(tree_.inode(entry.inode));
    std::memcpy(block.data() + (i - first) * sizeof(Dirent), &dirent, sizeof dirent);
    std::memcpy(block.data() + name_at, entry.text.data(), entry.text.size());
    name_at += entry.text.size();
  }
}

}  // namespace corten::erofs
