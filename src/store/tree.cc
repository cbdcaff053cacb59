#include "store/tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include <algorithm>
#include <memory>
#include <set>

namespace corten::store {
namespace {

struct CloseDirectory {
  void operator()(DIR* directory) const { ::closedir(directory); }
};

Result<> copy_bytes(int from, int to) {
  for (;;) {
    const ssize_t moved = ::copy_file_range(from, nullptr, to, nullptr, 64U << 20, 0);
    if (moved == 0) return {};
    if (moved < 0 && (errno == EINVAL || errno == EXDEV || errno == EOPNOTSUPP || errno == ENOSYS)) break;
    if (moved < 0) return sys_fail("copy");
  }
  FdSource source(from);
  FdSink sink(to);
  CHECK(copy(source, sink));
  return {};
}

Result<> make_copy(int from, const struct stat& status, int parent, const std::string& name) {
  if (S_ISLNK(status.st_mode)) {
    std::string target(4096, '\0');
    const ssize_t size = ::readlinkat(from, "", target.data(), target.size());
    if (size < 0) return sys_fail("read link {:?}", name);
    target.resize(static_cast<std::size_t>(size));
    if (::symlinkat(target.c_str(), parent, name.c_str()) != 0) return sys_fail("create link {:?}", name);
    return {};
  }
  if (!S_ISREG(status.st_mode)) {
    if (::mknodat(parent, name.c_str(), status.st_mode, status.st_rdev) != 0) return sys_fail("create {:?}", name);
    return {};
  }
  const UniqueFd in(::open(fd_path(from).c_str(), O_RDONLY | O_CLOEXEC));
  if (!in) return sys_fail("open {:?}", name);
  const UniqueFd out(::openat(parent, name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!out) return sys_fail("create {:?}", name);
  return copy_bytes(in.get(), out.get());
}

}  // namespace

std::string fd_path(int fd) { return "/proc/self/fd/" + std::to_string(fd); }

Result<std::vector<std::string>> list_names(int directory) {
  UniqueFd fd(::openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return sys_fail("open directory");
  const std::unique_ptr<DIR, CloseDirectory> stream(::fdopendir(fd.get()));
  if (stream == nullptr) return sys_fail("read directory");
  static_cast<void>(fd.release());
  std::vector<std::string> names;
  for (;;) {
    errno = 0;
    const dirent* entry = ::readdir(stream.get());
    if (entry == nullptr) break;
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
  }
  if (errno != 0) return sys_fail("read directory");
  std::sort(names.begin(), names.end());
  return names;
}

Result<> copy_node(int from, int parent, const std::string& name) {
  struct stat status{};
  if (::fstat(from, &status) != 0) return sys_fail("stat {:?}", name);
  if (S_ISDIR(status.st_mode)) return fail(ErrorKind::invalid, "{} is a directory", name);
  CHECK(make_copy(from, status, parent, name));
  const UniqueFd copy(::openat(parent, name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
  if (!copy) return sys_fail("open {:?}", name);
  if (::fchownat(copy.get(), "", status.st_uid, status.st_gid, AT_EMPTY_PATH) != 0)
    return sys_fail("set the owner of {:?}", name);
  const std::string path = fd_path(copy.get());
  if (!S_ISLNK(status.st_mode) && ::chmod(path.c_str(), status.st_mode & 07777) != 0)
    return sys_fail("set the mode of {:?}", name);
  for (const auto& [key, value] : TRY(kept_xattrs(from)))
    if (::setxattr(path.c_str(), key.c_str(), value.data(), value.size(), 0) != 0 && errno != ENOTSUP)
      return sys_fail("set {} of {}", key, name);
  const timespec times[] = {status.st_atim, status.st_mtim};
  if (::utimensat(parent, name.c_str(), times, AT_SYMLINK_NOFOLLOW) != 0)
    return sys_fail("set the times of {:?}", name);
  return {};
}

Result<std::map<std::string, std::string>> kept_xattrs(int fd) {
  std::map<std::string, std::string> out;
  const std::string path = fd_path(fd);
  char names[65536];
  const ssize_t size = ::listxattr(path.c_str(), names, sizeof(names));
  if (size < 0) {
    if (errno == ENOTSUP || errno == EPERM) return out;
    return sys_fail("list extended attributes");
  }
  for (std::string_view rest(names, static_cast<std::size_t>(size)); !rest.empty();) {
    const std::string name(rest.substr(0, rest.find('\0')));
    rest.remove_prefix(std::min(rest.size(), name.size() + 1));
    const bool kept = name == "security.capability" || name == "system.posix_acl_access" ||
                      name == "system.posix_acl_default" ||
                      (name.starts_with("user.") && !name.starts_with("user.overlay."));
    if (!kept) continue;
    std::string value(65536, '\0');
    const ssize_t got = ::getxattr(path.c_str(), name.c_str(), value.data(), value.size());
    if (got < 0) {
      if (errno == ENODATA) continue;
      return sys_fail("read extended attribute {:?}", name);
    }
    value.resize(static_cast<std::size_t>(got));
    out[name] = std::move(value);
  }
  return out;
}

Result<DiskUsage> disk_usage(int directory) {
  struct Level {
    UniqueFd fd;
    std::vector<std::string> names;  // still to be looked at
  };
  DiskUsage usage;
  std::set<std::pair<dev_t, ino_t>> linked;
  std::vector<Level> levels;
  const auto enter = [&levels](UniqueFd fd) -> Result<> {
    if (levels.size() > max_depth) return fail(ErrorKind::invalid, "directories are nested deeper than {}", max_depth);
    auto names = TRY(list_names(fd.get()));
    levels.push_back({std::move(fd), std::move(names)});
    return {};
  };
  UniqueFd top(::openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!top) return sys_fail("open directory");
  CHECK(enter(std::move(top)));
  while (!levels.empty()) {
    Level& level = levels.back();
    if (level.names.empty()) {
      levels.pop_back();
      continue;
    }
    const std::string name = std::move(level.names.back());
    level.names.pop_back();
    struct stat status{};
    if (::fstatat(level.fd.get(), name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) {
      if (errno == ENOENT) continue;  // a running container removes files meanwhile
      return sys_fail("stat {:?}", name);
    }
    const bool is_directory = S_ISDIR(status.st_mode);
    if (status.st_nlink > 1 && !is_directory && !linked.emplace(status.st_dev, status.st_ino).second) continue;
    usage.bytes += static_cast<std::uint64_t>(status.st_blocks) * 512;
    ++usage.inodes;
    if (!is_directory) continue;
    UniqueFd fd(::openat(level.fd.get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (fd) CHECK(enter(std::move(fd)));
  }
  return usage;
}

}  // namespace corten::store
