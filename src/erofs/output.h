// Where the image's bytes go: the image itself, written from front to back, and the stash for what must wait.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/error.h"
#include "base/unique_fd.h"

namespace corten::erofs {

Result<> write_all_at(int fd, std::span<const std::byte> bytes, std::uint64_t offset);
Result<> read_all_at(int fd, std::span<std::byte> bytes, std::uint64_t offset);

// Appends to a file in writes of 256 KiB and more that begin and end at multiples of 64 KiB.
class Output {
 public:
  explicit Output(int fd) : fd_(fd) {}
  std::uint64_t offset() const { return written_ + buffer_.size(); }
  Result<> append(std::span<const std::byte> bytes);
  // Zeros; many of them become a hole.
  Result<> append_zeros(std::uint64_t count);
  Result<> pad_to(std::uint64_t unit);
  Result<> flush();

 private:
  int fd_;
  std::uint64_t written_ = 0;
  std::vector<std::byte> buffer_;
};

// Bytes kept until the end: in memory up to a limit, then in a file without a name.
class Stash {
 public:
  // `directory` is where that file is made, when it is; -1 for /var/tmp.
  Stash(std::size_t limit, int directory) : limit_(limit), directory_(directory) {}
  std::uint64_t size() const { return spilled_ + used_; }
  Result<> append(std::span<const std::byte> bytes);
  Result<> read(std::uint64_t at, std::span<std::byte> to) const;

 private:
  Result<> spill();
  std::size_t limit_;
  int directory_;
  UniqueFd file_;
  std::uint64_t spilled_ = 0;
  // Of the whole limit from the first byte on: the kernel gives memory only to what is touched, and nothing is copied
  // as it fills.
  std::unique_ptr<std::byte[]> buffer_;
  std::size_t used_ = 0;
};

}  // namespace corten::erofs
