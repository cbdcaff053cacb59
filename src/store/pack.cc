#include "store/pack.h"

#include <fcntl.h>
#include <sys/sysmacros.h>

#include "store/overlay_format.h"
#include "store/tree.h"
#include "sys/beneath.h"

namespace corten::store {
namespace {

// The mount a descriptor is on; overlayfs gives directories one device number and files others, so st_dev would not do.
std::optional<std::uint64_t> mount_of(int fd) {
#ifdef STATX_MNT_ID
  struct statx status{};
  if (::statx(fd, "", AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW, STATX_MNT_ID, &status) == 0 &&
      (status.stx_mask & STATX_MNT_ID) != 0)
    return status.stx_mnt_id;
#else
  static_cast<void>(fd);
#endif
  return std::nullopt;
}

}  // namespace

Result<TarEntry> TreePacker::entry_of(const struct stat& status, std::string path) const {
  TarEntry entry;
  entry.name = std::move(path);
  entry.mode = status.st_mode & 07777;
  entry.uid = status.st_uid;
  entry.gid = status.st_gid;
  if (options_.map_owner) std::tie(entry.uid, entry.gid) = TRY(options_.map_owner(entry.uid, entry.gid));
  entry.mtime = status.st_mtim;
  return entry;
}

bool TreePacker::on_other_mount(int fd) {
  if (!options_.one_file_system) return false;
  const auto mount = mount_of(fd);
  if (!mount_id_) mount_id_ = mount;
  return mount != mount_id_;
}

Result<> TreePacker::add_fd(int fd, const std::string& path) {
  if (TRY(add_one(fd, path))) return add_children(fd, path + "/");
  return {};
}

Result<bool> TreePacker::add_one(int fd, const std::string& path) {
  struct stat status{};
  if (::fstat(fd, &status) != 0) return sys_fail("stat {:?}", path);
  if (S_ISSOCK(status.st_mode)) return false;
  // In a layer's tar it would take away what is below, where here it hides nothing.
  if (options_.overlay && std::string_view(path).substr(path.rfind('/') + 1).starts_with(".wh."))
    return fail(ErrorKind::invalid, "{:?} cannot be kept in a layer: a name with .wh. before it stands for a removal",
                path);
  if (S_ISDIR(status.st_mode)) {
    CHECK(add_directory(fd, status, path + "/"));
    return !on_other_mount(fd);
  }
  CHECK(options_.overlay && is_whiteout(status) ? add_whiteout(path, status) : add_node(fd, status, path));
  return false;
}

Result<> TreePacker::add_node(int fd, const struct stat& status, const std::string& path) {
  TarEntry entry = TRY(entry_of(status, path));
  if (status.st_nlink > 1) {
    const auto [first, is_new] =
        linked_.emplace(std::pair(status.st_dev, status.st_ino), Linked{path, status.st_nlink});
    if (!is_new) {
      entry.type = TarType::hard_link;
      entry.link = first->second.path;
      // All names have come: nobody will ask for it again.
      if (--first->second.names <= 1) linked_.erase(first);
      return writer_.header(entry);
    }
  }
  entry.xattrs = TRY_AS(kept_xattrs(fd), path);
  switch (status.st_mode & S_IFMT) {
    case S_IFREG: entry.size = static_cast<std::uint64_t>(status.st_size); return add_file(fd, entry);
    case S_IFLNK: {
      entry.type = TarType::symlink;
      entry.link.resize(4096);
      const ssize_t size = ::readlinkat(fd, "", entry.link.data(), entry.link.size());
      if (size < 0) return sys_fail("read link {:?}", path);
      entry.link.resize(static_cast<std::size_t>(size));
      entry.mode = 0777;
      break;
    }
    case S_IFIFO: entry.type = TarType::fifo; break;
    default:
      entry.type = S_ISBLK(status.st_mode) ? TarType::block : TarType::character;
      entry.major = major(status.st_rdev);
      entry.minor = minor(status.st_rdev);
  }
  return writer_.header(entry);
}

Result<> TreePacker::add_file(int fd, TarEntry& entry) {
  UniqueFd file(::open(fd_path(fd).c_str(), O_RDONLY | O_NOATIME | O_CLOEXEC));
  if (!file) file = UniqueFd(::open(fd_path(fd).c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) return sys_fail("open {:?}", entry.name);
  CHECK(writer_.header(entry));
  FdSource source(file.get());
  for (std::uint64_t left = entry.size; left > 0;) {
    const auto piece =
        std::span(buffer_).first(static_cast<std::size_t>(std::min<std::uint64_t>(left, buffer_.size())));
    const std::size_t got = TRY_AS(source.read(piece), entry.name);
    if (got == 0) {  // cut meanwhile: the header has promised these bytes
      std::fill(piece.begin(), piece.end(), std::byte{0});
      CHECK(writer_.data(piece));
      left -= piece.size();
      continue;
    }
    CHECK(writer_.data(piece.first(got)));
    left -= got;
  }
  return {};
}

Result<> TreePacker::add_directory(int fd, const struct stat& status, const std::string& path) {
  TarEntry entry = TRY(entry_of(status, path));
  entry.type = TarType::directory;
  entry.xattrs = TRY_AS(kept_xattrs(fd), path);
  return writer_.header(entry);
}

Result<> TreePacker::add_children(int directory, const std::string& path) {
  std::vector<Level> levels;
  CHECK(enter(directory, path, levels));
  while (!levels.empty()) {
    Level& level = levels.back();
    if (level.next == level.names.size()) {
      levels.pop_back();
      continue;
    }
    const std::string& name = level.names[level.next++];
    const std::string child = level.path + name;
    // First a descriptor that opens nothing: whatever stands at the name may be exchanged, and opening a device acts.
    const UniqueFd fd(::openat(level.fd.get(), name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
    if (!fd) {
      if (errno == ENOENT) continue;  // gone meanwhile
      return sys_fail("open {:?}", child);
    }
    if (TRY(add_one(fd.get(), child))) CHECK(enter(fd.get(), child + "/", levels));
  }
  return {};
}

// Goes into a directory: what it hides comes first, then its names.
Result<> TreePacker::enter(int directory, const std::string& path, std::vector<Level>& levels) {
  if (levels.size() > max_depth)
    return fail(ErrorKind::invalid, "{:?}: directories are nested deeper than {}", path.substr(0, 200), max_depth);
  UniqueFd fd(::openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return sys_fail("open {:?}", path);
  static_cast<void>(on_other_mount(fd.get()));  // the first one says which mount is ours
  if (options_.overlay && is_opaque(fd.get())) {
    struct stat status{};
    if (::fstat(fd.get(), &status) != 0) return sys_fail("stat {:?}", path);
    TarEntry entry = TRY(entry_of(status, path + ".wh..wh..opq"));
    entry.mode = 0600;
    CHECK(writer_.file(entry, ""));
  }
  auto names = TRY_AS(list_names(fd.get()), path);
  levels.push_back({std::move(fd), path, std::move(names), 0});
  return {};
}

Result<> TreePacker::add_whiteout(const std::string& path, const struct stat& status) {
  const std::size_t slash = path.rfind('/');
  const std::size_t at = slash == std::string::npos ? 0 : slash + 1;
  TarEntry entry = TRY(entry_of(status, path.substr(0, at) + ".wh." + path.substr(at)));
  entry.mode = 0600;
  return writer_.file(entry, "");
}

Result<UniqueFd> open_in_root(int root_fd, std::string_view path, int flags, bool follow_last) {
  while (path.starts_with('/')) path.remove_prefix(1);
  if (path.find('\0') != std::string_view::npos) return fail(ErrorKind::invalid, "path has a NUL byte");
  return sys::open_beneath(root_fd, path.empty() ? "." : path,
                           static_cast<std::uint64_t>(static_cast<unsigned>(flags | (follow_last ? 0 : O_NOFOLLOW))));
}

Result<> pack(int root_fd, std::string_view path, ByteSink& tar, const PackOptions& options) {
  const UniqueFd fd = TRY(open_in_root(root_fd, path, O_PATH, options.follow_top));
  struct stat status{};
  if (::fstat(fd.get(), &status) != 0) return sys_fail("stat {:?}", path);
  std::string_view trimmed = path;
  while (trimmed.ends_with('/')) trimmed.remove_suffix(1);
  std::string name = options.rename.value_or(std::string(trimmed.substr(trimmed.rfind('/') + 1)));
  TreePacker packer(tar, {.one_file_system = options.one_file_system, .map_owner = options.map_owner});
  if (!S_ISDIR(status.st_mode)) {
    CHECK(packer.add_fd(fd.get(), name));
  } else if (name.empty()) {
    CHECK(packer.add_children(fd.get(), ""));
  } else {
    CHECK(packer.add_fd(fd.get(), name));
  }
  return packer.finish();
}

Result<PathStat> stat_path(int root_fd, std::string_view path) {
  auto fd = open_in_root(root_fd, path, O_PATH, false);
  if (!fd && fd.error().kind() == ErrorKind::not_found)
    return fail(ErrorKind::not_found, "Could not find the file {} in container", path);
  if (!fd) return std::unexpected(std::move(fd).error());
  struct stat status{};
  if (::fstat(fd->get(), &status) != 0) return sys_fail("stat {:?}", path);
  PathStat out;
  std::string_view trimmed = path;
  while (trimmed.size() > 1 && trimmed.ends_with('/')) trimmed.remove_suffix(1);
  out.name = trimmed == "/" || trimmed.empty() ? "/" : std::string(trimmed.substr(trimmed.rfind('/') + 1));
  out.size = status.st_size;
  out.mode = status.st_mode;
  out.mtime_ns = status.st_mtim.tv_sec * 1'000'000'000 + status.st_mtim.tv_nsec;
  if (S_ISLNK(status.st_mode)) {
    out.link_target.resize(4096);
    const ssize_t size = ::readlinkat(fd->get(), "", out.link_target.data(), out.link_target.size());
    if (size < 0) return sys_fail("read link {:?}", path);
    out.link_target.resize(static_cast<std::size_t>(size));
  }
  return out;
}

}  // namespace corten::store
