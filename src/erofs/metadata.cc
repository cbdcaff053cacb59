#include "erofs/metadata.h"

#include <sys/stat.h>

#include <algorithm>
#include <cstring>
#include <limits>

#include "erofs/compression.h"
#include "erofs/format.h"

namespace corten::erofs {
namespace {

constexpr std::size_t open_blocks = 32;
constexpr std::uint64_t blocks_max = 0xffffffff;

InodeExtended on_disk(const Inode& inode, std::uint32_t number, std::uint32_t tail, std::uint32_t start) {
  InodeExtended out;
  DataLayout layout = tail > 0 ? DataLayout::flat_inline : DataLayout::flat_plain;
  if (inode.compressed_blocks() > 0) {
    layout = DataLayout::compressed_full;
    start = inode.compressed_blocks();
  }
  out.i_format = static_cast<std::uint16_t>(inode_layout_extended | static_cast<unsigned>(layout) << datalayout_bit);
  out.i_xattr_icount = inode.xattr_icount;
  out.i_mode = inode.mode;
  out.i_size = inode.has_data() ? inode.size : 0;
  out.i_u = inode.has_data() ? start : static_cast<std::uint32_t>(inode.size);
  out.i_ino = number + 1;
  out.i_uid = inode.uid;
  out.i_gid = inode.gid;
  out.i_mtime = static_cast<std::uint64_t>(inode.mtime);
  out.i_mtime_nsec = inode.mtime_nsec;
  out.i_nlink = inode.nlink;
  return out;
}

}  // namespace

std::uint32_t inline_tail(std::uint64_t size, std::uint32_t xattr_size) {
  const std::uint64_t tail = size % block_size;
  return sizeof(InodeExtended) + xattr_size + tail <= block_size ? static_cast<std::uint32_t>(tail) : 0;
}

std::uint32_t inline_tail(const Inode& inode) {
  return inode.has_data() && inode.compressed_blocks() == 0 ? inline_tail(inode.size, inode.xattr_size()) : 0;
}

// The first slot stays free: inode number 0 means "no file" to readers of directories.
InodePlaces::InodePlaces() { open(blocks_++, slot_size); }

void InodePlaces::open(std::uint32_t block, std::uint32_t used) {
  if (open_.size() == open_blocks) open_.erase(std::ranges::max_element(open_, {}, &Open::used));
  open_.push_back({.block = block, .used = used});
}

std::uint64_t InodePlaces::take(std::uint32_t bytes) {
  const auto size = static_cast<std::uint32_t>(round_up(bytes, slot_size));
  Open* best = nullptr;
  for (Open& one : open_)
    if (one.used + size <= block_size && (best == nullptr || one.used > best->used)) best = &one;
  if (best != nullptr) {
    const std::uint64_t nid = (best->block * block_size + best->used) / slot_size;
    best->used += size;
    return nid;
  }
  const std::uint32_t block = blocks_;
  blocks_ += static_cast<std::uint32_t>(round_up(size, block_size) / block_size);
  if (size % block_size != 0) open(blocks_ - 1, size % block_size);
  return block * block_size / slot_size;
}

std::array<std::byte, block_size> super_block(const MetadataWriter::Summary& summary, std::uint64_t blocks) {
  SuperBlock super;
  super.magic = super_magic;
  super.feature_compat = feature_compat_sb_chksum | feature_compat_mtime;
  super.blkszbits = block_bits;
  super.root_nid = static_cast<std::uint16_t>(summary.root_nid);
  super.inos = summary.inodes;
  super.blocks = static_cast<std::uint32_t>(blocks);
  super.meta_blkaddr = summary.meta_blkaddr;
  super.xattr_blkaddr = summary.xattr_blkaddr;
  Lz4Settings lz4;
  if (summary.compressed) {
    super.feature_incompat = feature_incompat_lz4_0padding | feature_incompat_big_pcluster;
    super.available_compr_algs = 1U << algorithm_lz4;
    lz4.size = sizeof lz4 - sizeof lz4.size;
    lz4.max_distance = 0xffff;
    lz4.max_pclusterblks = cluster_blocks_max;
  }
  std::array<Le64, 2> sum;
  for (std::size_t i = 0; i < sum.size(); ++i) sum[i] = summary.sum[i];
  std::memcpy(super.uuid.data(), sum.data(), super.uuid.size());
  // RFC 9562: a UUID of one's own making is version 8.
  super.uuid[6] = static_cast<std::uint8_t>((super.uuid[6] & 0x0f) | 0x80);
  super.uuid[8] = static_cast<std::uint8_t>((super.uuid[8] & 0x3f) | 0x80);

  std::array<std::byte, block_size> block{};
  const auto covered = std::span(block).subspan(super_offset);
  std::memcpy(covered.data(), &super, sizeof super);
  std::memcpy(covered.data() + sizeof super, &lz4, sizeof lz4);
  super.checksum = crc32c(~0U, covered);
  std::memcpy(covered.data(), &super, sizeof super);
  return block;
}

MetadataWriter::MetadataWriter(Tree& tree, const Stash& stash, const XattrTable& xattrs, Output& output)
    : tree_(tree), stash_(stash), xattrs_(xattrs), output_(output), children_(tree), sum_({0, 0}) {}

Result<> MetadataWriter::emit(std::span<const std::byte> bytes) {
  sum_.update(bytes);
  return output_.append(bytes);
}

void MetadataWriter::place(std::uint32_t number) {
  Inode& inode = tree_.inode(number);
  if (inode.is_directory()) {
    const DirectoryView view(tree_, children_, inode.name);
    const DirectoryView::Size size = view.size();
    inode.size = size.bytes();
    inode.nlink = 2 + view.subdirectories();
    inode.start = directory_blocks_;
    const bool in_block = size.tail > 0 && inline_tail(inode) == 0;
    const std::uint64_t blocks = size.blocks + (in_block ? 1 : 0);
    if (blocks > 0) with_blocks_.push_back(inode.name);
    if (directory_blocks_ + blocks > blocks_max) too_large_ = true;
    directory_blocks_ += static_cast<std::uint32_t>(blocks);
  }
  const std::uint64_t head = sizeof(InodeExtended) + inode.xattr_size();
  const bool compressed = inode.compressed_blocks() > 0;
  summary_.compressed |= compressed;
  const std::uint64_t behind = compressed ? index_size(head, inode.size) : inline_tail(inode);
  const std::uint64_t nid = places_.take(static_cast<std::uint32_t>(head + behind));
  if (nid > std::numeric_limits<std::uint32_t>::max()) too_large_ = true;
  inode.nid = static_cast<std::uint32_t>(nid);
  order_.push_back(number);
  if (inode.is(S_IFREG)) summary_.file_bytes += inode.size;
}

// A directory's children lie together, then those of its first subdirectory.
void MetadataWriter::place_all() {
  place(tree_.name(Tree::top).inode);
  std::vector<std::uint32_t> waiting{Tree::top};
  while (!waiting.empty() && !too_large_) {
    const std::uint32_t directory = waiting.back();
    waiting.pop_back();
    const std::size_t mark = waiting.size();
    for (std::uint32_t i = 0; i < children_.count(directory); ++i) {
      const std::uint32_t name = children_.at(directory, i);
      Inode& inode = tree_.inode_of(name);
      ++summary_.entries;
      if (inode.nid == 0) place(tree_.name(name).inode);
      if (inode.is_directory()) {
        waiting.push_back(name);
      } else {
        ++inode.nlink;
      }
    }
    std::reverse(waiting.begin() + static_cast<std::ptrdiff_t>(mark), waiting.end());
  }
  std::ranges::sort(order_, {}, [this](std::uint32_t number) { return tree_.inode(number).nid; });
}

Result<> MetadataWriter::write_inode(std::uint32_t number) {
  const Inode& inode = tree_.inode(number);
  const std::uint64_t at = inode.nid * slot_size;
  CHECK(output_.append_zeros(at - cursor_));
  const std::uint32_t tail = inline_tail(inode);
  const std::uint32_t start = inode.start + (inode.is_directory() ? directory_start_ : 0);
  const InodeExtended head = on_disk(inode, number, tail, start);
  CHECK(emit(std::as_bytes(std::span(&head, 1))));
  const std::uint32_t xattr_size = inode.xattr_size();
  const bool compressed = inode.compressed_blocks() > 0;
  const std::size_t stashed = xattr_size + (compressed ? chunks_of(inode.size) : inode.is_directory() ? 0 : tail);
  scratch_.resize(stashed);
  CHECK(stash_.read(inode.stash, scratch_));
  if (inode.is_directory() && tail > 0) {
    const DirectoryView view(tree_, children_, inode.name);
    std::uint32_t first = 0, bytes = 0;
    for (std::uint64_t left = inode.size / block_size; left > 0; --left) first = view.block_end(first, bytes);
    scratch_.resize(stashed + tail);
    view.write(first, view.count(), std::span(scratch_).subspan(stashed));
  }
  if (compressed) {
    const std::vector<std::byte> chunks(scratch_.begin() + xattr_size, scratch_.end());
    scratch_.resize(xattr_size);
    scratch_.resize(xattr_size + index_size(sizeof head + xattr_size, inode.size));
    write_index(sizeof head + xattr_size, inode.size, inode.start, chunks, std::span(scratch_).subspan(xattr_size));
  }
  CHECK(emit(scratch_));
  cursor_ = at + sizeof head + scratch_.size();
  return {};
}

Result<> MetadataWriter::write_inodes() {
  for (const std::uint32_t number : order_) CHECK(write_inode(number));
  const std::uint64_t end = places_.blocks() * block_size;
  // An empty block at the end when an inode is the image's last bytes: fsck.erofs up to 1.8 looks for the attributes
  // behind an inode also where it has none.
  const bool at_end = cursor_ == end && directory_blocks_ == 0;
  return output_.append_zeros(end - cursor_ + (at_end ? block_size : 0));
}

Result<> MetadataWriter::write_directories() {
  std::array<std::byte, block_size> block;
  for (const std::uint32_t name : with_blocks_) {
    const DirectoryView view(tree_, children_, name);
    const Inode& inode = tree_.inode_of(name);
    const bool last_is_inline = inline_tail(inode) > 0;
    for (std::uint32_t first = 0, bytes = 0; first < view.count();) {
      const std::uint32_t end = view.block_end(first, bytes);
      if (end == view.count() && last_is_inline) break;
      block.fill({});
      view.write(first, end, block);
      CHECK(emit(block));
      first = end;
    }
  }
  return {};
}

Result<MetadataWriter::Summary> MetadataWriter::write(SipHash sum) {
  sum_ = sum;
  place_all();
  const std::uint64_t shared_blocks = round_up(xattrs_.shared().size(), block_size) / block_size;
  const std::uint64_t first = output_.offset() / block_size;
  if (too_large_ || first + shared_blocks + places_.blocks() + directory_blocks_ > blocks_max)
    return fail(ErrorKind::invalid, "the file system image would be larger than its format allows (16 TiB)");
  summary_.xattr_blkaddr = shared_blocks > 0 ? static_cast<std::uint32_t>(first) : 0;
  summary_.meta_blkaddr = static_cast<std::uint32_t>(first + shared_blocks);
  summary_.root_nid = tree_.inode_of(Tree::top).nid;
  summary_.inodes = order_.size();
  directory_start_ = summary_.meta_blkaddr + places_.blocks();
  CHECK(emit(xattrs_.shared()));
  CHECK(output_.pad_to(block_size));
  CHECK(write_inodes());
  CHECK(write_directories());
  summary_.sum = sum_.finish();
  return summary_;
}

}  // namespace corten::erofs
