#include "store/settle.h"

#include <fcntl.h>
#include <sys/xattr.h>

#include <set>
#include <vector>

#include "store/overlay_format.h"
#include "store/tree.h"

namespace corten::store {
namespace {

constexpr std::size_t max_names = 64U << 10;  // what Linux gives at most

timespec to_timespec(Timestamp time) {
  const auto since = time.time_since_epoch();
  auto seconds = std::chrono::floor<std::chrono::seconds>(since);
  return {static_cast<time_t>(seconds.count()), static_cast<long>((since - seconds).count())};
}

bool later(const timespec& a, const timespec& b) {
  return a.tv_sec != b.tv_sec ? a.tv_sec > b.tv_sec : a.tv_nsec > b.tv_nsec;
}

bool same(const timespec& a, const timespec& b) { return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec; }

// What no archive keeps and a mount of the layer would show. Marks of the host's security modules are not ours to take.
bool goes(std::string_view attribute) {
  if (attribute.starts_with("trusted.overlay.")) return attribute.starts_with("trusted.overlay.overlay.");
  return attribute.starts_with("trusted.") || attribute.starts_with("user.overlay.");
}

class Settler {
 public:
  explicit Settler(const SettleOptions& options) : options_(options) {
    if (options.newest) newest_ = to_timespec(*options.newest);
  }

  Result<DiskUsage> run(int upper) {
    CHECK(settle_top(upper));
    UniqueFd top(::openat(upper, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!top) return sys_fail("open the writable layer");
    CHECK(enter(std::move(top), "", ""));
    while (!levels_.empty()) {
      Level& level = levels_.back();
      CHECK(level.next == level.names.size() ? leave() : entry(level.names[level.next++]));
    }
    return usage_;
  }

 private:
  // A directory whose names are being looked at. Its own time is set when they are done: what goes from it changes it.
  struct Level {
    UniqueFd fd;
    std::string path, name;
    struct stat status{};  // as it was
    std::vector<std::string> names;
    std::size_t next = 0;
    std::size_t left = 0;  // names that stay
    bool opaque = false;
  };

  // Archives have no entry for "/": whoever unpacks one gives it the attributes that it has below.
  Result<> settle_top(int upper) {
    const std::string path = fd_path(upper);
    if (::chown(path.c_str(), options_.top.st_uid, options_.top.st_gid) != 0 ||
        ::chmod(path.c_str(), options_.top.st_mode & 07777) != 0)
      return sys_fail("set owner and mode of the layer's root");
    for (const auto& [key, value] : TRY(kept_xattrs(upper)))
      if (::removexattr(path.c_str(), key.c_str()) != 0 && errno != ENODATA)
        return sys_fail("remove {} from the layer's root", key);
    return {};
  }

  Result<> enter(UniqueFd fd, std::string path, std::string name) {
    if (levels_.size() > max_depth)
      return fail(ErrorKind::invalid, "{:?}: directories are nested deeper than {}", path.substr(0, 200), max_depth);
    Level level;
    level.fd = std::move(fd);
    level.path = std::move(path);
    level.name = std::move(name);
    if (::fstat(level.fd.get(), &level.status) != 0) return sys_fail("stat {:?}", level.path);
    CHECK(strip(fd_path(level.fd.get()) + "/.", level.path));
    if (!levels_.empty()) level.opaque = TRY(settle_mark(level));
    level.names = TRY_AS(list_names(level.fd.get()), level.path);
    levels_.push_back(std::move(level));
    return {};
  }

  // overlayfs marks each directory that is new as hiding what is below, whether there is something or not.
  Result<bool> settle_mark(const Level& level) const {
    if (!is_opaque(level.fd.get())) return false;
    const UniqueFd below = TRY(options_.below(level.path));
    struct stat status{};
    if (below && ::fstat(below.get(), &status) != 0) return sys_fail("stat {:?} below", level.path);
    if (below && S_ISDIR(status.st_mode)) return true;
    if (::fremovexattr(level.fd.get(), opaque_xattr) != 0) return sys_fail("remove a mark from {:?}", level.path);
    return false;
  }

  Result<> entry(const std::string& name) {
    Level& level = levels_.back();
    const std::string path = level.path.empty() ? name : level.path + "/" + name;
    struct stat status{};
    if (::fstatat(level.fd.get(), name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) return sys_fail("stat {:?}", path);
    if (S_ISSOCK(status.st_mode)) {
      if (::unlinkat(level.fd.get(), name.c_str(), 0) != 0) return sys_fail("remove socket {:?}", path);
      return {};
    }
    if (S_ISDIR(status.st_mode)) {
      UniqueFd fd(::openat(level.fd.get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
      if (!fd) return sys_fail("open {:?}", path);
      return enter(std::move(fd), path, name);
    }
    ++level.left;
    ++usage_.inodes;
    const bool gone = is_whiteout(status);
    if (!gone) CHECK(strip(fd_path(level.fd.get()) + "/" + name, path));
    if (S_ISREG(status.st_mode) && (status.st_nlink == 1 || linked_.emplace(status.st_dev, status.st_ino).second))
      usage_.bytes += static_cast<std::uint64_t>(status.st_size);
    // When a name was taken away is nobody's business.
    if (newest_ && (gone ? !same(status.st_mtim, *newest_) : later(status.st_mtim, *newest_)))
      return set_time(level.fd.get(), name, *newest_, path);
    return {};
  }

  Result<> leave() {
    Level level = std::move(levels_.back());
    levels_.pop_back();
    if (!levels_.empty()) {
      if (level.left == 0 && !level.opaque && TRY(is_as_below(level))) {
        if (::unlinkat(levels_.back().fd.get(), level.name.c_str(), AT_REMOVEDIR) != 0)
          return sys_fail("remove {:?}", level.path);
        return {};
      }
      ++levels_.back().left;
      ++usage_.inodes;
    }
    timespec time = level.status.st_mtim;
    if (newest_ && later(time, *newest_)) time = *newest_;
    struct stat now{};
    if (::fstat(level.fd.get(), &now) != 0) return sys_fail("stat {:?}", level.path);
    return same(now.st_mtim, time) ? Result<>() : set_time(level.fd.get(), ".", time, level.path);
  }

  // A copy that nothing was changed in, neither in it nor of it.
  Result<bool> is_as_below(const Level& level) const {
    const UniqueFd below = TRY(options_.below(level.path));
    struct stat status{};
    if (!below) return false;
    if (::fstat(below.get(), &status) != 0) return sys_fail("stat {:?} below", level.path);
    const struct stat& mine = level.status;
    return S_ISDIR(status.st_mode) && status.st_mode == mine.st_mode && status.st_uid == mine.st_uid &&
           status.st_gid == mine.st_gid && same(status.st_mtim, mine.st_mtim) &&
           TRY(kept_xattrs(level.fd.get())) == TRY(kept_xattrs(below.get()));
  }

  static Result<> set_time(int directory, const std::string& name, const timespec& time, const std::string& path) {
    const timespec times[] = {{0, UTIME_OMIT}, time};
    if (::utimensat(directory, name.c_str(), times, AT_SYMLINK_NOFOLLOW) != 0)
      return sys_fail("set the time of {:?}", path);
    return {};
  }

  // `file` is not followed if it is a link.
  Result<> strip(const std::string& file, const std::string& path) {
    const ssize_t size = ::llistxattr(file.c_str(), names_.data(), names_.size());
    if (size < 0 && (errno == ENOTSUP || errno == EPERM)) return {};
    if (size < 0) return sys_fail("list extended attributes of {:?}", path);
    for (std::size_t at = 0; at < static_cast<std::size_t>(size);) {
      const std::string_view name = names_.data() + at;
      at += name.size() + 1;
      if (goes(name) && ::lremovexattr(file.c_str(), name.data()) != 0 && errno != ENODATA)
        return sys_fail("remove {} of {:?}", name, path);
    }
    return {};
  }

  const SettleOptions& options_;
  std::optional<timespec> newest_;
  std::vector<char> names_ = std::vector<char>(max_names);
  std::set<std::pair<dev_t, ino_t>> linked_;
  std::vector<Level> levels_;
  DiskUsage usage_;
};

}  // namespace

Result<DiskUsage> settle_upper(int upper, const SettleOptions& options) { return Settler(options).run(upper); }

}  // namespace corten::store
