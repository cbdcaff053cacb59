#include "erofs/file_data.h"

#include <algorithm>
#include <array>

#include "erofs/format.h"
#include "erofs/metadata.h"

namespace corten::erofs {
namespace {

// Reading it back costs time, so a compressed chunk must be an eighth smaller.
bool worth_it(std::uint64_t packed, std::uint64_t plain) {
  return packed > 0 && packed + index_size(0, plain) <= plain - plain / 8;
}

// Programs begin with a megabyte of hashes; a file none of whose first chunks shrinks is not tried further.
constexpr std::size_t tries = 16;

}  // namespace

void FileData::begin(const Inode& inode, bool may_compress) {
  size_ = inode.size;
  xattr_size_ = inode.xattr_size();
  start_ = static_cast<std::uint32_t>(output_.offset() / block_size);
  chunks_.clear();
  if (compressor_ && may_compress && size_ > block_size && size_ <= compressed_size_max) {
    way_ = Way::undecided;
    left_ = size_;
    chunk_.clear();
    chunk_.reserve(chunk_size);
  } else {
    go_flat();
  }
}

void FileData::go_flat() {
  way_ = Way::flat;
  const std::uint64_t in_blocks = size_ - inline_tail(size_, xattr_size_);
  in_blocks_left_ = in_blocks - chunks_.size() * chunk_size;
  if (in_blocks == 0) start_ = 0;
}

Result<> FileData::write_flat(std::span<const std::byte> bytes) {
  const auto in_blocks = static_cast<std::size_t>(std::min<std::uint64_t>(bytes.size(), in_blocks_left_));
  in_blocks_left_ -= in_blocks;
  if (in_blocks > 0) CHECK(output_.append(bytes.first(in_blocks)));
  return stash_.append(bytes.subspan(in_blocks));
}

Result<> FileData::write_chunk(std::span<const std::byte> chunk, std::span<const std::byte> packed) {
  chunks_.push_back(packed.empty() ? stored_plain : static_cast<std::byte>(packed.size() / block_size));
  if (!packed.empty()) return output_.append(packed);
  CHECK(output_.append(chunk));
  return output_.pad_to(block_size);
}

Result<> FileData::chunk_complete(std::span<const std::byte> chunk) {
  left_ -= chunk.size();
  auto packed = compressor_->compress(chunk);
  if (!worth_it(packed.size(), chunk.size())) packed = {};
  if (!packed.empty()) way_ = Way::compressed;
  if (way_ == Way::undecided && (left_ == 0 || chunks_.size() + 1 == tries)) {
    go_flat();
    return write_flat(chunk);
  }
  return write_chunk(chunk, packed);
}

Result<> FileData::write(std::span<const std::byte> bytes) {
  while (way_ != Way::flat && !bytes.empty()) {
    const auto wanted = static_cast<std::size_t>(std::min(left_, chunk_size));
    if (chunk_.empty() && bytes.size() >= wanted) {
      CHECK(chunk_complete(bytes.first(wanted)));
      bytes = bytes.subspan(wanted);
      continue;
    }
    const auto piece = bytes.first(std::min(bytes.size(), wanted - chunk_.size()));
    chunk_.insert(chunk_.end(), piece.begin(), piece.end());
    bytes = bytes.subspan(piece.size());
    if (chunk_.size() < wanted) return {};
    CHECK(chunk_complete(chunk_));
    chunk_.clear();
  }
  return write_flat(bytes);
}

Result<> FileData::write_zeros(std::uint64_t count) {
  static constexpr std::array<std::byte, block_size> zeros{};
  while (way_ != Way::flat && count > 0) {
    const std::uint64_t piece = std::min<std::uint64_t>(count, zeros.size());
    CHECK(write(std::span(zeros).first(piece)));
    count -= piece;
  }
  const std::uint64_t in_blocks = std::min(count, in_blocks_left_);
  in_blocks_left_ -= in_blocks;
  CHECK(output_.append_zeros(in_blocks));
  return stash_.append(std::span(zeros).first(static_cast<std::size_t>(count - in_blocks)));
}

Result<> FileData::end(Inode& inode) {
  CHECK(output_.pad_to(block_size));
  inode.start = start_;
  if (way_ == Way::flat) return {};
  inode.name = static_cast<std::uint32_t>(output_.offset() / block_size) - start_;
  return stash_.append(chunks_);
}

Result<> FileData::abandon() {
  way_ = Way::flat;
  return output_.pad_to(block_size);
}

}  // namespace corten::erofs
