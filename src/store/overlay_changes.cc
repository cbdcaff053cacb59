#include "store/overlay_changes.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <optional>

#include "store/overlay_format.h"
#include "store/tree.h"

namespace corten::store {
namespace {

std::optional<struct stat> stat_at(int directory, const std::string& name) {
  struct stat status{};
  if (::fstatat(directory, name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) return std::nullopt;
  return status;
}

UniqueFd open_directory_at(int directory, const std::string& name) {
  return UniqueFd(::openat(directory, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
}

// A time without a fraction may have lost it in an archive.
bool same_time(const timespec& a, const timespec& b) {
  return a.tv_sec == b.tv_sec && (a.tv_nsec == b.tv_nsec || a.tv_nsec == 0 || b.tv_nsec == 0);
}

std::string capability_of(int directory, const std::string& name) {
  const UniqueFd fd(::openat(directory, name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
  if (!fd) return {};
  const auto xattrs = kept_xattrs(fd.get());
  if (!xattrs) return {};
  const auto found = xattrs->find("security.capability");
  return found == xattrs->end() ? std::string() : found->second;
}

class Comparer {
 public:
  std::vector<Change> changes;

  // Says whether anything inside differs.
  Result<bool> directory(int upper, int parent, const std::string& path) {
    if (++depth_ > max_depth)
      return fail(ErrorKind::invalid, "{:?}: directories are nested deeper than {}", path.substr(0, 200), max_depth);
    const std::size_t before = changes.size();
    const auto names = TRY(list_names(upper));
    for (const std::string& name : names) CHECK(entry(upper, parent, name, path + "/" + name));
    if (is_opaque(upper)) CHECK(hidden(names, parent, path));
    --depth_;
    return changes.size() > before;
  }

 private:
  Result<> entry(int upper, int parent, const std::string& name, const std::string& path) {
    const auto now = stat_at(upper, name);
    if (!now) return {};
    const auto old = stat_at(parent, name);
    if (is_whiteout(*now)) {
      if (old) changes.push_back({path, ChangeKind::deleted});
      return {};
    }
    if (!old) {
      changes.push_back({path, ChangeKind::added});
      return S_ISDIR(now->st_mode) ? added_below(upper, name, path) : Result<>();
    }
    if (S_ISDIR(now->st_mode) && S_ISDIR(old->st_mode)) {
      const std::size_t at = changes.size();
      const UniqueFd upper_fd = open_directory_at(upper, name), parent_fd = open_directory_at(parent, name);
      if (!upper_fd || !parent_fd) return sys_fail("open {:?}", path);
      const bool inside = TRY(directory(upper_fd.get(), parent_fd.get(), path));
      if (inside || differs(*old, *now, upper, parent, name))
        changes.insert(changes.begin() + static_cast<std::ptrdiff_t>(at), {path, ChangeKind::modified});
      return {};
    }
    if (differs(*old, *now, upper, parent, name)) changes.push_back({path, ChangeKind::modified});
    return S_ISDIR(now->st_mode) ? added_below(upper, name, path) : Result<>();
  }

  Result<> added_below(int upper, const std::string& name, const std::string& path) {
    if (++depth_ > max_depth)
      return fail(ErrorKind::invalid, "{:?}: directories are nested deeper than {}", path.substr(0, 200), max_depth);
    const UniqueFd fd = open_directory_at(upper, name);
    if (!fd) return sys_fail("open {:?}", path);
    for (const std::string& child : TRY(list_names(fd.get()))) {
      const auto status = stat_at(fd.get(), child);
      if (!status || is_whiteout(*status)) continue;
      changes.push_back({path + "/" + child, ChangeKind::added});
      if (S_ISDIR(status->st_mode)) CHECK(added_below(fd.get(), child, path + "/" + child));
    }
    --depth_;
    return {};
  }

  // An opaque directory: what the parent has and it has not is gone.
  Result<> hidden(const std::vector<std::string>& names, int parent, const std::string& path) {
    for (const std::string& name : TRY(list_names(parent)))
      if (!std::binary_search(names.begin(), names.end(), name))
        changes.push_back({path + "/" + name, ChangeKind::deleted});
    return {};
  }

  static bool differs(const struct stat& old, const struct stat& now, int upper, int parent, const std::string& name) {
    if (old.st_mode != now.st_mode || old.st_uid != now.st_uid || old.st_gid != now.st_gid ||
        old.st_rdev != now.st_rdev)
      return true;
    if (!S_ISDIR(old.st_mode) && (!same_time(old.st_mtim, now.st_mtim) || old.st_size != now.st_size)) return true;
    return S_ISREG(old.st_mode) && capability_of(upper, name) != capability_of(parent, name);
  }

  int depth_ = 0;
};

}  // namespace

Result<std::vector<Change>> overlay_changes(int upper, int parent) {
  Comparer comparer;
  CHECK(comparer.directory(upper, parent, ""));
  std::sort(comparer.changes.begin(), comparer.changes.end(),
            [](const Change& a, const Change& b) { return a.path < b.path; });
  return std::move(comparer.changes);
}

}  // namespace corten::store
