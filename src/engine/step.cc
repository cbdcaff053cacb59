#include "engine/step.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include <algorithm>
#include <array>
#include <deque>
#include <filesystem>
#include <set>

#include "store/snapshots.h"
#include "sys/beneath.h"
#include "sys/mounts.h"

namespace corten::engine {
namespace {

// On what we make, so that nothing that a step has put in its place is taken for it. No archive keeps it.
constexpr const char* mark = "trusted.corten.mount_point";
constexpr std::size_t max_links = 40;

std::string fd_path(int fd) { return fmt::format("/proc/self/fd/{}", fd); }

Result<std::string> clean_target(const std::string& target) {
  if (target.empty() || target[0] != '/' || target.find('\0') != std::string::npos)
    return fail(ErrorKind::invalid, "invalid mount target {:?}: it must be an absolute path", target);
  std::string cleaned = std::filesystem::path(target).lexically_normal();
  while (cleaned.size() > 1 && cleaned.back() == '/') cleaned.pop_back();
  if (cleaned == "/") return fail(ErrorKind::invalid, "invalid mount target {:?}: it can't be '/'", target);
  return cleaned;
}

bool is_at_or_below(std::string_view path, std::string_view directory) {
  return path == directory || (path.starts_with(directory) && path[directory.size()] == '/');
}

void split_onto(std::deque<std::string>& front, std::string_view path) {
  std::vector<std::string> parts;
  while (!path.empty()) {
    const std::size_t end = std::min(path.find('/'), path.size());
    if (end > 0 && path.substr(0, end) != ".") parts.emplace_back(path.substr(0, end));
    path.remove_prefix(std::min(path.size(), end + 1));
  }
  front.insert(front.begin(), parts.begin(), parts.end());
}

std::string joined(const std::vector<std::string>& parts) { return fmt::format("{}", fmt::join(parts, "/")); }

// Where a path of the container leads: the part that is there, without links, and what is missing below it. The
// container does not run, so nothing changes meanwhile.
struct Place {
  std::vector<std::string> there, missing;
};

Result<std::optional<Place>> find_place(int root, const std::string& path) {
  Place out;
  std::deque<std::string> left;
  split_onto(left, path);
  for (std::size_t links = 0; !left.empty();) {
    const std::string name = std::move(left.front());
    left.pop_front();
    if (name == "..") {
      auto& parts = out.missing.empty() ? out.there : out.missing;
      if (!parts.empty()) parts.pop_back();
      continue;
    }
    if (!out.missing.empty()) {
      out.missing.push_back(name);
      continue;
    }
    std::vector<std::string> next = out.there;
    next.push_back(name);
    const auto found = sys::open_beneath(root, joined(next), O_PATH | O_NOFOLLOW, sys::Resolve::beneath);
    if (!found && found.error().sys_errno() == ENOENT) {
      out.missing.push_back(name);
      continue;
    }
    // Something else is in the way: the start says so.
    if (!found && found.error().sys_errno() == ENOTDIR) return std::nullopt;
    if (!found) return std::unexpected(found.error());
    struct stat status{};
    if (::fstat(found->get(), &status) != 0) return sys_fail("stat {:?}", path);
    if (!S_ISLNK(status.st_mode)) {
      out.there = std::move(next);
      continue;
    }
    if (++links > max_links) return std::nullopt;
    std::array<char, 4096> text{};
    const ssize_t size = ::readlinkat(found->get(), "", text.data(), text.size());
    if (size < 0) return sys_fail("read link {:?}", path);
    const std::string_view target(text.data(), static_cast<std::size_t>(size));
    if (target.starts_with('/')) out.there.clear();
    split_onto(left, target);
  }
  return out;
}

Result<UniqueFd> open_directory(int root, const std::string& path) {
  return sys::open_beneath(root, path.empty() ? "." : path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW,
                           sys::Resolve::no_symlinks);
}

// Keeps a directory's time while something is done to it.
class TimeKept {
 public:
  explicit TimeKept(int directory) : directory_(directory) { known_ = ::fstat(directory, &status_) == 0; }
  TimeKept(const TimeKept&) = delete;
  TimeKept& operator=(const TimeKept&) = delete;
  ~TimeKept() {
    const timespec times[] = {{0, UTIME_OMIT}, status_.st_mtim};
    if (known_) static_cast<void>(::futimens(directory_, times));
  }

 private:
  const int directory_;
  struct stat status_{};
  bool known_ = false;
};

Result<UniqueFd> make_one(int parent, const std::string& name, bool is_directory) {
  UniqueFd fd;
  if (is_directory) {
    if (::mkdirat(parent, name.c_str(), 0755) != 0) return sys_fail("make {:?}", name);
    fd = UniqueFd(::openat(parent, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  } else {
    fd = UniqueFd(::openat(parent, name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0755));
  }
  if (!fd) return sys_fail("make {:?}", name);
  // Whatever the daemon's umask is.
  if (::fchmod(fd.get(), 0755) != 0) return sys_fail("set the mode of {:?}", name);
  if (::fsetxattr(fd.get(), mark, "", 0, 0) != 0) return sys_fail("mark {:?}", name);
  return fd;
}

Result<> make_missing(int root, const Place& place, bool is_directory, std::vector<MountPointMade>& made) {
  UniqueFd parent = TRY(open_directory(root, joined(place.there)));
  const UniqueFd top = TRY(open_directory(root, joined(place.there)));
  const TimeKept kept(top.get());
  std::vector<std::string> path = place.there;
  for (const std::string& name : place.missing) {
    path.push_back(name);
    const bool last = &name == &place.missing.back();
    parent = TRY(make_one(parent.get(), name, is_directory || !last));
    made.push_back({joined(path), is_directory || !last});
  }
  return {};
}

// The runtime mounts these itself, and what is below another of the mounts is not in the snapshot.
bool is_covered(std::string_view target, const std::set<std::string>& mounted) {
  for (const std::string_view ours : {"/proc", "/sys", "/dev"})
    if (is_at_or_below(target, ours)) return true;
  return std::ranges::any_of(mounted, [&](const std::string& other) { return is_at_or_below(target, other); });
}

Result<> remove_one(int root, const MountPointMade& point) {
  const auto [directory, name_view] = sys::split_path(point.path);
  const std::string name(name_view);
  const auto parent = open_directory(root, std::string(directory));
  if (!parent) return {};  // it is not there any more, or a link stands in its way
  const UniqueFd fd(::openat(parent->get(), name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
  struct stat status{};
  if (!fd || ::fstat(fd.get(), &status) != 0) return {};
  const bool still = point.is_directory ? S_ISDIR(status.st_mode) : S_ISREG(status.st_mode) && status.st_size == 0;
  if (!still || ::getxattr(fd_path(fd.get()).c_str(), mark, nullptr, 0) < 0) return {};
  const TimeKept kept(parent->get());
  if (::unlinkat(parent->get(), name.c_str(), point.is_directory ? AT_REMOVEDIR : 0) == 0) return {};
  if (errno == ENOTEMPTY || errno == EEXIST) return {};
  return sys_fail("remove the mount point /{}", point.path);
}

}  // namespace

Result<ResolvedMounts> resolve_step_mounts(std::vector<StepMount>& mounts) {
  ResolvedMounts out;
  std::set<std::string> targets;
  for (StepMount& mount : mounts) {
    mount.target = TRY(clean_target(mount.target));
    if (!targets.insert(mount.target).second)
      return fail(ErrorKind::invalid, "duplicate mount target {:?}", mount.target);
    MountDetail detail;
    detail.destination = mount.target;
    detail.read_only = mount.read_only;
    detail.non_recursive = true;
    if (mount.source) {
      detail.type = "bind";
      detail.source = "descriptor";  // is what is mounted; no path is looked up
    } else {
      detail.type = "tmpfs";
      detail.options = "nosuid,nodev";
      if (mount.size > 0) detail.options += fmt::format(",size={}", mount.size);
      if (mount.read_only) detail.options += ",ro";
    }
    MountPoint point;
    point.type = detail.type;
    point.destination = mount.target;
    point.rw = !mount.read_only;
    out.details.push_back(std::move(detail));
    out.points.push_back(std::move(point));
  }
  std::ranges::sort(mounts, {}, &StepMount::target);
  std::ranges::sort(out.details, {}, &MountDetail::destination);
  std::ranges::sort(out.points, {}, &MountPoint::destination);
  return out;
}

Result<UniqueFd> open_step_tree(const StepMount& mount, int user_namespace) {
  auto copy = sys::clone_mount(mount.source->get(), "", false);
  if (copy && user_namespace >= 0) {
    const auto mapped =
        sys::set_mount_attributes(copy->get(), {.set = MOUNT_ATTR_IDMAP, .user_namespace = user_namespace}, false);
    // An overlay cannot; what everybody may read is read all the same.
    if (!mapped && mapped.error().sys_errno() != EINVAL && mapped.error().sys_errno() != EPERM)
      return std::unexpected(Error(mapped.error()).wrap(fmt::format("mount at {}", mount.target)));
  }
  if (copy || copy.error().sys_errno() != EINVAL)
    return wrap(std::move(copy), fmt::format("mount at {}", mount.target));
  // Before Linux 6.15 nothing is copied that is attached nowhere; such a mount is taken as it is.
  UniqueFd same(::fcntl(mount.source->get(), F_DUPFD_CLOEXEC, 3));
  if (!same) return sys_fail("copy a descriptor");
  return same;
}

Result<std::vector<MountPointMade>> make_mount_points(store::Snapshots& snapshots, const std::string& key,
                                                      const std::vector<StepMount>& mounts) {
  std::vector<MountPointMade> made;
  if (mounts.empty()) return made;
  const UniqueFd root = TRY(snapshots.mount(key, {.ephemeral = true}));
  std::set<std::string> mounted;
  for (const StepMount& mount : mounts) {
    struct stat status{};
    if (mount.source && ::fstatat(mount.source->get(), "", &status, AT_EMPTY_PATH) != 0)
      return sys_fail("stat what is mounted at {}", mount.target);
    const bool covered = is_covered(mount.target, mounted);
    mounted.insert(mount.target);
    if (covered) continue;
    const auto place = TRY(find_place(root.get(), mount.target));
    if (place && !place->missing.empty())
      CHECK_AS(make_missing(root.get(), *place, !mount.source || S_ISDIR(status.st_mode), made),
               fmt::format("make the mount point {}", mount.target));
  }
  return made;
}

Result<> remove_mount_points(store::Snapshots& snapshots, const std::string& key,
                             const std::vector<MountPointMade>& made) {
  if (made.empty()) return {};
  const UniqueFd root = TRY(snapshots.mount(key, {.ephemeral = true}));
  for (auto point = made.rbegin(); point != made.rend(); ++point) CHECK(remove_one(root.get(), *point));
  return {};
}

}  // namespace corten::engine
