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
  Result<std::vector<Change>> run(int upper, int parent) {
    CHECK(enter(open_directory_at(upper, "."), open_directory_at(parent, "."), "", false));
    while (!levels_.empty()) {
      if (levels_.back().next == levels_.back().names.size())
        CHECK(leave());
      else
        CHECK(entry());
    }
    std::sort(changes_.begin(), changes_.end(), [](const Change& a, const Change& b) { return a.path < b.path; });
    return std::move(changes_);
  }

 private:
  // A directory under comparison. Without a parent all in it is new.
  struct Level {
    UniqueFd upper, parent;
    std::string path;
    std::vector<std::string> names;
    std::size_t next = 0;
    std::size_t changes_before = 0;
    bool differs = false;  // by itself
  };

  Result<> enter(UniqueFd upper, UniqueFd parent, std::string path, bool differs) {
    if (!upper) return sys_fail("open {:?}", path);
    if (levels_.size() > max_depth)
      return fail(ErrorKind::invalid, "{:?}: directories are nested deeper than {}", path.substr(0, 200), max_depth);
    auto names = TRY(list_names(upper.get()));
    levels_.push_back(
        {std::move(upper), std::move(parent), std::move(path), std::move(names), 0, changes_.size(), differs});
    return {};
  }

  Result<> leave() {
    Level level = std::move(levels_.back());
    levels_.pop_back();
    if (!level.parent) return {};
    if (is_opaque(level.upper.get())) CHECK(hidden(level));
    const bool inside = changes_.size() > level.changes_before;
    if (!level.path.empty() && (inside || level.differs)) changes_.push_back({level.path, ChangeKind::modified});
    return {};
  }

  // The next name of the directory at hand.
  Result<> entry() {
    Level& level = levels_.back();
    const std::string name = level.names[level.next++];
    const std::string path = level.path + "/" + name;
    const int upper = level.upper.get(), parent = level.parent.get();
    const auto now = stat_at(upper, name);
    if (!now) return {};
    const auto old = level.parent ? stat_at(parent, name) : std::nullopt;
    if (is_whiteout(*now)) {
      if (old) changes_.push_back({path, ChangeKind::deleted});
      return {};
    }
    const bool is_directory = S_ISDIR(now->st_mode);
    if (!old) {
      changes_.push_back({path, ChangeKind::added});
      return is_directory ? enter(open_directory_at(upper, name), {}, path, false) : Result<>();
    }
    const bool differs_here = differs(*old, *now, upper, parent, name);
    if (is_directory && S_ISDIR(old->st_mode)) {
      UniqueFd below = open_directory_at(parent, name);
      if (!below) return sys_fail("open {:?}", path);
      return enter(open_directory_at(upper, name), std::move(below), path, differs_here);
    }
    if (differs_here) changes_.push_back({path, ChangeKind::modified});
    return is_directory ? enter(open_directory_at(upper, name), {}, path, false) : Result<>();
  }

  // An opaque directory: what the parent has and it has not is gone.
  Result<> hidden(const Level& level) {
    for (const std::string& name : TRY(list_names(level.parent.get())))
      if (!std::binary_search(level.names.begin(), level.names.end(), name))
        changes_.push_back({level.path + "/" + name, ChangeKind::deleted});
    return {};
  }

  static bool differs(const struct stat& old, const struct stat& now, int upper, int parent, const std::string& name) {
    if (old.st_mode != now.st_mode || old.st_uid != now.st_uid || old.st_gid != now.st_gid ||
        old.st_rdev != now.st_rdev)
      return true;
    if (!S_ISDIR(old.st_mode) && (!same_time(old.st_mtim, now.st_mtim) || old.st_size != now.st_size)) return true;
    return S_ISREG(old.st_mode) && capability_of(upper, name) != capability_of(parent, name);
  }

  std::vector<Level> levels_;
  std::vector<Change> changes_;
};

}  // namespace

Result<std::vector<Change>> overlay_changes(int upper, int parent) { return Comparer().run(upper, parent); }

}  // namespace corten::store
