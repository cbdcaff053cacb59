// Many small contents in one file that is only appended to. Private to pool.cc.
//
// A record: magic, size (u32, in the machine's order: the file does not outlive a boot), digest (32 bytes), the bytes,
// a closing magic. Records are written in one call each, but several at once by several threads: a process that was
// killed may leave one without its end, and there the reading of the file ends.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/unique_fd.h"
#include "oci/digest.h"

namespace corten::context {

class Pack {
 public:
  static constexpr std::size_t max_content = 64U << 10;
  static constexpr std::uint64_t max_bytes = 64U << 20;

  static Result<std::shared_ptr<Pack>> make(int directory, std::string name);
  // One that a process before this one has written; `found` gets every whole record.
  static Result<std::shared_ptr<Pack>> open(
      int directory, std::string name,
      const std::function<void(oci::Digest digest, std::uint64_t offset, std::uint64_t size)>& found);

  // Room for a content of `size`; none when the pack is full. Not thread-safe; the other calls are.
  std::optional<std::uint64_t> reserve(std::uint64_t size);
  Result<> put(std::uint64_t offset, const oci::Digest& digest, std::string_view bytes) const;
  // `size` bytes of the content at `offset`.
  Result<std::string> get(std::uint64_t offset, std::uint64_t size) const;

  const std::string& name() const { return name_; }
  std::uint64_t size() const { return end_; }
  int fd() const { return fd_.get(); }
  // Of its bytes: those of contents that are known still. The pool's, under its lock.
  std::uint64_t live = 0;
  std::int64_t stamped = 0;

 private:
  Pack(UniqueFd fd, std::string name) : fd_(std::move(fd)), name_(std::move(name)) {}
  UniqueFd fd_;
  std::string name_;
  std::uint64_t end_ = 0;
};

}  // namespace corten::context
