#include "runtime/launch_copy_up.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <memory>
#include <string>
#include <string_view>

#include "base/unique_fd.h"
#include "sys/beneath.h"

namespace corten::runtime {
namespace {

using sys::Resolve;

struct Budget {
  std::uint64_t bytes = 1ULL << 30;
  std::uint32_t entries = 100'000;
};
constexpr int max_depth = 64;

struct CloseDirectory {
  void operator()(DIR* directory) const { ::closedir(directory); }
};

Result<> copy_attributes(const struct stat& status, int to) {
  if (::fchown(to, status.st_uid, status.st_gid) != 0) return sys_fail("set the owner");
  if (::fchmod(to, status.st_mode & 07777) != 0) return sys_fail("set the mode");
  const std::array<timespec, 2> times{status.st_atim, status.st_mtim};
  if (::futimens(to, times.data()) != 0) return sys_fail("set the times");
  return {};
}

Result<> copy_file(int from, int to, const char* name, const struct stat& status, Budget& budget) {
  const auto size = static_cast<std::uint64_t>(status.st_size);
  if (size > budget.bytes) return fail(ErrorKind::exhausted, "more than 1 GiB");
  budget.bytes -= size;
  const auto source = TRY(sys::open_beneath(from, name, O_RDONLY | O_NONBLOCK | O_NOFOLLOW, Resolve::same_mount));
  // Somebody with the same volume may have put another file there since.
  struct stat opened{};
  if (::fstat(source.get(), &opened) != 0) return sys_fail("stat");
  if (!S_ISREG(opened.st_mode)) return fail(ErrorKind::invalid, "no regular file any more");
  UniqueFd target(::openat(to, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!target) return sys_fail("create");
  for (std::uint64_t left = size; left > 0;) {
    const ssize_t copied = ::sendfile(target.get(), source.get(), nullptr, left);
    if (copied < 0) return sys_fail("copy");
    if (copied == 0) break;
    left -= static_cast<std::uint64_t>(copied);
  }
  return copy_attributes(status, target.get());
}

Result<> copy_link(int from, int to, const char* name) {
  const auto text = TRY(sys::read_link_beneath(from, name, Resolve::same_mount));
  if (::symlinkat(text.c_str(), to, name) != 0) return sys_fail("make a link");
  return {};
}

Result<> copy_directory(int from, int to, Budget& budget, int depth);

Result<> copy_entry(int from, int to, const char* name, Budget& budget, int depth) {
  struct stat status{};
  if (::fstatat(from, name, &status, AT_SYMLINK_NOFOLLOW) != 0) return sys_fail("stat");
  if (budget.entries-- == 0) return fail(ErrorKind::exhausted, "more than 100,000 entries");
  if (S_ISREG(status.st_mode)) return copy_file(from, to, name, status, budget);
  if (S_ISLNK(status.st_mode)) return copy_link(from, to, name);
  if (!S_ISDIR(status.st_mode)) return {};
  if (::mkdirat(to, name, 0700) != 0) return sys_fail("make a directory");
  const auto source = TRY(sys::open_beneath(from, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, Resolve::same_mount));
  UniqueFd target(::openat(to, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!target) return sys_fail("open a directory");
  CHECK(copy_directory(source.get(), target.get(), budget, depth + 1));
  return copy_attributes(status, target.get());
}

Result<> copy_directory(int from, int to, Budget& budget, int depth) {
  if (depth > max_depth) return fail(ErrorKind::invalid, "more than {} levels deep", max_depth);
  UniqueFd listing(::openat(from, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!listing) return sys_fail("list");
  std::unique_ptr<DIR, CloseDirectory> directory(::fdopendir(listing.get()));
  if (!directory) return sys_fail("list");
  (void)listing.release();
  while (const dirent* entry = ::readdir(directory.get())) {
    const std::string_view name = entry->d_name;
    if (name == "." || name == "..") continue;
    CHECK_AS(copy_entry(from, to, entry->d_name, budget, depth), entry->d_name);
  }
  return {};
}

}  // namespace

Result<> copy_up(int from, int to) {
  struct stat status{};
  if (::fstatat(from, "", &status, AT_EMPTY_PATH) != 0) return sys_fail("stat the directory to copy");
  UniqueFd target(::openat(to, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!target) return sys_fail("open the new file system");
  Budget budget;
  CHECK_AS(copy_directory(from, target.get(), budget, 0), "copy the image's content");
  return copy_attributes(status, target.get());
}

}  // namespace corten::runtime
