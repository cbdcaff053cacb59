#include "store/layer_compare.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include <algorithm>
#include <array>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "base/unique_fd.h"
#include "store/overlay_format.h"
#include "store/tree.h"

namespace corten::store {
namespace {

constexpr std::size_t piece = 256U << 10;
constexpr std::size_t max_names = 64U << 10;  // what Linux gives at most
constexpr std::size_t max_value = 64U << 10;

// Of overlayfs' own only what takes something away from the layers below; the rest are notes of the mount that wrote.
bool counts(const std::string& name) { return !name.starts_with("trusted.overlay.") || name == opaque_xattr; }

Result<std::map<std::string, std::string>> all_xattrs(int fd) {
  std::map<std::string, std::string> out;
  const std::string path = fd_path(fd);
  std::string names(max_names, '\0');
  const ssize_t size = ::listxattr(path.c_str(), names.data(), names.size());
  if (size < 0 && errno == ENOTSUP) return out;
  if (size < 0) return sys_fail("list attributes");
  names.resize(static_cast<std::size_t>(size));
  std::string value(max_value, '\0');
  for (std::size_t at = 0; at < names.size();) {
    const std::string name = names.c_str() + at;
    at += name.size() + 1;
    if (!counts(name)) continue;
    const ssize_t got = ::getxattr(path.c_str(), name.c_str(), value.data(), value.size());
    if (got < 0) return sys_fail("read attribute {:?}", name);
    out.emplace(name, value.substr(0, static_cast<std::size_t>(got)));
  }
  return out;
}

Result<std::string> link_text(int fd) {
  std::array<char, PATH_MAX> text{};
  const ssize_t size = ::readlinkat(fd, "", text.data(), text.size());
  if (size < 0) return sys_fail("read link");
  return std::string(text.data(), static_cast<std::size_t>(size));
}

Result<struct stat> status_of(int fd) {
  struct stat status{};
  if (::fstat(fd, &status) != 0) return sys_fail("stat");
  return status;
}

bool same_status(const struct stat& a, const struct stat& b, TreeKind kind) {
  // When and by whom a name was taken away, no archive says.
  if (kind == TreeKind::unpacked && is_whiteout(a) && is_whiteout(b)) return true;
  if (a.st_mode != b.st_mode || a.st_uid != b.st_uid || a.st_gid != b.st_gid || a.st_rdev != b.st_rdev) return false;
  if (kind == TreeKind::image && a.st_nlink != b.st_nlink) return false;
  if (kind == TreeKind::unpacked && S_ISDIR(a.st_mode)) return true;
  return a.st_size == b.st_size && a.st_mtim.tv_sec == b.st_mtim.tv_sec && a.st_mtim.tv_nsec == b.st_mtim.tv_nsec;
}

// Whose error it is shows when the other one is read by itself.
template <class ReadOther>
Result<bool> judged(Result<bool> same, ReadOther read_other) {
  if (same) return same;
  const bool is_unlike = TRY(unlike(std::move(same).error()));
  CHECK(read_other());
  return is_unlike;
}

Result<std::size_t> read_at(int fd, std::uint64_t offset, std::span<std::byte> buffer) {
  for (std::size_t have = 0;;) {
    const ssize_t got = ::pread(fd, buffer.data() + have, buffer.size() - have, static_cast<off_t>(offset + have));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return sys_fail("read");
    have += static_cast<std::size_t>(got);
    if (got == 0 || have == buffer.size()) return have;
  }
}

Result<bool> same_bytes(int one, int other) {
  if (TRY(status_of(one)).st_size != TRY(status_of(other)).st_size) return false;
  // Only clean pages go; whether any do is the kernel's business.
  for (const int fd : {one, other}) static_cast<void>(::posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED));
  std::vector<std::byte> a(piece), b(piece);
  for (std::uint64_t at = 0;; at += piece) {
    const std::size_t have = TRY(read_at(one, at, a));
    if (have != TRY(read_at(other, at, b))) return false;
    if (!std::ranges::equal(std::span(a).first(have), std::span(b).first(have))) return false;
    if (have < piece) return true;
  }
}

// Two trees side by side; no walk calls itself.
class TreeComparer {
 public:
  explicit TreeComparer(TreeKind kind) : kind_(kind) {}

  Result<bool> run(int one, int other) {
    if (!TRY(enter(UniqueFd(::openat(one, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)),
                   UniqueFd(::openat(other, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)))))
      return false;
    while (!levels_.empty()) {
      if (levels_.back().next == levels_.back().names.size())
        levels_.pop_back();
      else if (!TRY(entry()))
        return false;
    }
    return true;
  }

 private:
  struct Level {
    UniqueFd one, other;
    std::vector<std::string> names;
    std::size_t next = 0;
  };

  Result<bool> enter(UniqueFd one, UniqueFd other) {
    if (!one || !other) return sys_fail("open directory");
    if (levels_.size() > max_depth) return fail(ErrorKind::invalid, "directories are nested deeper than {}", max_depth);
    if (!same_status(TRY(status_of(one.get())), TRY(status_of(other.get())), kind_)) return false;
    if (TRY(all_xattrs(one.get())) != TRY(all_xattrs(other.get()))) return false;
    auto names = TRY(list_names(one.get()));
    if (names != TRY(list_names(other.get()))) return false;
    levels_.push_back({std::move(one), std::move(other), std::move(names), 0});
    return true;
  }

  Result<bool> entry() {
    Level& level = levels_.back();
    const std::string& name = level.names[level.next++];
    const UniqueFd one(::openat(level.one.get(), name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
    const UniqueFd other(::openat(level.other.get(), name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
    if (!one || !other) return sys_fail("open {:?}", name);
    const struct stat status = TRY(status_of(one.get()));
    if (S_ISDIR(status.st_mode) && S_ISDIR(TRY(status_of(other.get())).st_mode))
      return enter(UniqueFd(::openat(one.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)),
                   UniqueFd(::openat(other.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)));
    if (!same_status(status, TRY(status_of(other.get())), kind_)) return false;
    if (S_ISLNK(status.st_mode)) return TRY(link_text(one.get())) == TRY(link_text(other.get()));
    if (TRY(all_xattrs(one.get())) != TRY(all_xattrs(other.get()))) return false;
    if (!S_ISREG(status.st_mode)) return true;
    const UniqueFd left(::open(fd_path(one.get()).c_str(), O_RDONLY | O_CLOEXEC));
    const UniqueFd right(::open(fd_path(other.get()).c_str(), O_RDONLY | O_CLOEXEC));
    if (!left || !right) return sys_fail("open {:?}", name);
    return same_file(left.get(), right.get());
  }

  const TreeKind kind_;
  std::vector<Level> levels_;
};

}  // namespace

Result<bool> unlike(Error why) {
  if (why.kind() == ErrorKind::exhausted || why.kind() == ErrorKind::unavailable)
    return std::unexpected(std::move(why));
  return false;
}

Result<bool> same_file(int one, int other) {
  return judged(same_bytes(one, other), [&] { return same_bytes(other, other); });
}

Result<bool> same_tree(int one, int other, TreeKind kind) {
  return judged(TreeComparer(kind).run(one, other), [&] { return TreeComparer(kind).run(other, other); });
}

}  // namespace corten::store
