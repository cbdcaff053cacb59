// What a reader has not taken yet, in order: first in memory, then in an unlinked file, up to a limit.
#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/unique_fd.h"

namespace corten::shim {

class Outbox {
 public:
  // `directory` is borrowed; the file is made there when it is first needed.
  Outbox(int directory, std::uint64_t limit) : directory_(directory), limit_(limit) {}

  bool empty() const { return size() == 0; }
  std::uint64_t size() const { return memory_.size() - taken_ + (file_end_ - file_begin_); }

  // exhausted: more than the limit, or the file cannot be written; nothing of `bytes` is kept then.
  Result<> append(std::string_view bytes);
  // The first bytes, at most 64 KiB; valid until the next call. Empty only if the outbox is.
  Result<std::string_view> front();
  void drop(std::size_t count);

 private:
  Result<> append_to_file(std::string_view bytes);
  Result<> refill();

  const int directory_;
  const std::uint64_t limit_;
  std::string memory_;  // from taken_ on: the oldest bytes
  std::size_t taken_ = 0;
  UniqueFd file_;  // bytes file_begin_ to file_end_: those after memory_
  std::uint64_t file_begin_ = 0;
  std::uint64_t file_end_ = 0;
};

}  // namespace corten::shim
