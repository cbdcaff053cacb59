#include "shim/outbox.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>

namespace corten::shim {
namespace {

constexpr std::size_t memory_limit = 64U << 10;
constexpr std::uint64_t punch_step = 4U << 20;

Result<UniqueFd> make_spill_file(int directory) {
  UniqueFd file(::openat(directory, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  if (file) return file;
  // A file system without O_TMPFILE; then it is memory, but still bounded.
  file = UniqueFd(::memfd_create("corten-spill", MFD_CLOEXEC));
  if (!file) return sys_fail("make a file for a slow reader's output");
  return file;
}

}  // namespace

Result<> Outbox::append(std::string_view bytes) {
  if (size() + bytes.size() > limit_)
    return fail(ErrorKind::exhausted, "a reader left more than {} bytes unread", limit_);
  if (file_end_ > file_begin_ || memory_.size() - taken_ + bytes.size() > memory_limit) return append_to_file(bytes);
  if (taken_ > 0 && memory_.size() + bytes.size() > memory_limit) {
    memory_.erase(0, taken_);
    taken_ = 0;
  }
  memory_.append(bytes);
  return {};
}

Result<> Outbox::append_to_file(std::string_view bytes) {
  if (!file_) file_ = TRY(make_spill_file(directory_));
  std::uint64_t end = file_end_;
  while (!bytes.empty()) {
    const ssize_t written = ::pwrite(file_.get(), bytes.data(), bytes.size(), static_cast<off_t>(end));
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0)
      return fail(ErrorKind::exhausted, "write a slow reader's output to a file: {}", errno_text(errno));
    end += static_cast<std::uint64_t>(written);
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
  file_end_ = end;
  return {};
}

Result<> Outbox::refill() {
  const auto want = static_cast<std::size_t>(std::min<std::uint64_t>(memory_limit, file_end_ - file_begin_));
  memory_.resize(want);
  taken_ = 0;
  std::size_t have = 0;
  while (have < want) {
    const ssize_t got =
        ::pread(file_.get(), memory_.data() + have, want - have, static_cast<off_t>(file_begin_ + have));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) {
      memory_.clear();
      return fail(ErrorKind::exhausted, "cannot read a slow reader's output back from its file");
    }
    have += static_cast<std::size_t>(got);
  }
  const std::uint64_t before = file_begin_;
  file_begin_ += want;
  if (file_begin_ == file_end_) {
    // Empty: starts over, and gives the space back.
    if (::ftruncate(file_.get(), 0) == 0) file_begin_ = file_end_ = 0;
  } else if (before / punch_step != file_begin_ / punch_step) {
    // Best effort; a file system without holes keeps the space until the file goes.
    (void)::fallocate(file_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
                      static_cast<off_t>(file_begin_ / punch_step * punch_step));
  }
  return {};
}

Result<std::string_view> Outbox::front() {
  if (taken_ == memory_.size() && file_end_ > file_begin_) CHECK(refill());
  return std::string_view(memory_).substr(taken_);
}

void Outbox::drop(std::size_t count) {
  taken_ += count;
  if (taken_ < memory_.size()) return;
  taken_ = 0;
  memory_.clear();
  if (file_end_ == file_begin_) {
    memory_.shrink_to_fit();
    file_.reset();
  }
}

}  // namespace corten::shim
