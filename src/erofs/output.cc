#include "erofs/output.h"

#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "erofs/format.h"

namespace corten::erofs {
namespace {

constexpr std::size_t threshold = 256U << 10;
constexpr std::size_t aligned = 64U << 10;
constexpr std::size_t hole = 32U << 10;  // from this many zeros on

// Both pieces one after the other at `offset`.
Result<> write_two(int fd, std::span<const std::byte> first, std::span<const std::byte> second, std::uint64_t offset) {
  while (!first.empty() || !second.empty()) {
    const std::array<iovec, 2> parts{
        {{const_cast<std::byte*>(first.data()), first.size()}, {const_cast<std::byte*>(second.data()), second.size()}}};
    const ssize_t count = ::pwritev(fd, parts.data(), 2, static_cast<off_t>(offset));
    if (count < 0) {
      if (errno == EINTR) continue;
      return sys_fail("write the file system image");
    }
    if (count == 0) return sys_fail_text(EIO, "write the file system image");
    const auto done = static_cast<std::size_t>(count);
    const std::size_t of_first = std::min(done, first.size());
    first = first.subspan(of_first);
    second = second.subspan(done - of_first);
    offset += done;
  }
  return {};
}

}  // namespace

Result<> write_all_at(int fd, std::span<const std::byte> bytes, std::uint64_t offset) {
  return write_two(fd, bytes, {}, offset);
}

Result<> read_all_at(int fd, std::span<std::byte> bytes, std::uint64_t offset) {
  while (!bytes.empty()) {
    const ssize_t count = ::pread(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (count < 0) {
      if (errno == EINTR) continue;
      return sys_fail("read back what was spilled");
    }
    if (count == 0) return fail(ErrorKind::internal, "read back what was spilled: it ends too early");
    bytes = bytes.subspan(static_cast<std::size_t>(count));
    offset += static_cast<std::uint64_t>(count);
  }
  return {};
}

Result<> Output::append(std::span<const std::byte> bytes) {
  const std::uint64_t end = offset() + bytes.size();
  // True as soon as `bytes` passes a multiple of the threshold.
  if (written_ / threshold != end / threshold) {
    // What is behind the last whole unit waits, so that each write ends, and the next begins, where the pieces of the
    // page cache do.
    const auto now = bytes.size() - static_cast<std::size_t>(end % aligned);
    CHECK(write_two(fd_, buffer_, bytes.first(now), written_));
    written_ += buffer_.size() + now;
    buffer_.clear();
    bytes = bytes.subspan(now);
  }
  if (buffer_.capacity() == 0) buffer_.reserve(threshold);
  buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
  return {};
}

Result<> Output::append_zeros(std::uint64_t count) {
  static constexpr std::array<std::byte, block_size> zeros{};
  if (count >= hole) {
    CHECK(flush());
    // The file ends where something was last written, so a hole at its end needs this.
    written_ += count;
    if (::ftruncate(fd_, static_cast<off_t>(written_)) != 0) return sys_fail("extend the file system image");
    return {};
  }
  while (count > 0) {
    const std::uint64_t piece = std::min<std::uint64_t>(count, zeros.size());
    CHECK(append(std::span(zeros).first(piece)));
    count -= piece;
  }
  return {};
}

Result<> Output::pad_to(std::uint64_t unit) { return append_zeros(round_up(offset(), unit) - offset()); }

Result<> Output::flush() {
  CHECK(write_two(fd_, buffer_, {}, written_));
  written_ += buffer_.size();
  buffer_.clear();
  return {};
}

Result<> Stash::append(std::span<const std::byte> bytes) {
  if (bytes.empty()) return {};
  if (used_ + bytes.size() > limit_) {
    CHECK(spill());
    if (bytes.size() > limit_) {
      CHECK_AS(write_all_at(file_.get(), bytes, spilled_), "spill");
      spilled_ += bytes.size();
      return {};
    }
  }
  if (!buffer_) buffer_ = std::make_unique_for_overwrite<std::byte[]>(limit_);
  std::memcpy(buffer_.get() + used_, bytes.data(), bytes.size());
  used_ += bytes.size();
  return {};
}

Result<> Stash::spill() {
  if (!file_) {
    const int flags = O_TMPFILE | O_RDWR | O_CLOEXEC;
    if (directory_ >= 0) file_ = UniqueFd(::openat(directory_, ".", flags, 0600));
    // Not every file system has files without names.
    if (!file_ && (directory_ < 0 || errno == EOPNOTSUPP)) file_ = UniqueFd(::open("/var/tmp", flags, 0600));
    if (!file_) return sys_fail("make a temporary file beside the file system image");
  }
  CHECK_AS(write_all_at(file_.get(), {buffer_.get(), used_}, spilled_), "spill");
  spilled_ += used_;
  used_ = 0;
  return {};
}

Result<> Stash::read(std::uint64_t at, std::span<std::byte> to) const {
  if (at < spilled_) {
    const auto count = static_cast<std::size_t>(std::min<std::uint64_t>(spilled_ - at, to.size()));
    CHECK(read_all_at(file_.get(), to.first(count), at));
    at += count;
    to = to.subspan(count);
  }
  if (!to.empty()) std::memcpy(to.data(), buffer_.get() + (at - spilled_), to.size());
  return {};
}

}  // namespace corten::erofs
