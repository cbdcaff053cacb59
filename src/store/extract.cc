#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <array>
#include <ranges>

#include "store/archive.h"
#include "store/extract_budget.h"
#include "store/extract_entry.h"
#include "store/overlay_format.h"
#include "store/tree.h"
#include "sys/beneath.h"
#include "sys/files.h"

namespace corten::store {
namespace {

constexpr std::string_view whiteout_prefix = ".wh.";
constexpr std::string_view whiteout_meta = ".wh..wh.";
constexpr std::string_view opaque_name = ".wh..wh..opq";
// What an entry costs the disk beside its content, roughly.
constexpr std::uint64_t entry_cost = 4096;
// Directories are remembered until the end, for their times.
constexpr std::size_t max_remembered = 128U << 20;

// One archive on its way into one directory.
class Extractor {
 public:
  Extractor(ByteSource& tar, int root, std::string base, const ExtractOptions& options)
      : reader_(tar, options.need_end_marker),
        budget_(options.limits, root, entry_cost),
        root_(root),
        base_(std::move(base)),
        options_(options) {}

  Result<ExtractStats> run() {
    CHECK(budget_.start());
    TarEntry entry;
    while (TRY(reader_.next(entry))) {
      CHECK(budget_.add_entry());
      if (auto done = one(entry); !done)
        return std::unexpected(std::move(done).error().wrap(fmt::format("{:?}", entry.name.substr(0, 200))));
    }
    CHECK(set_directory_times());
    return budget_.stats();
  }

 private:
  Result<> one(TarEntry& entry) {
    CHECK(budget_.pay_entry());
    const CleanName where = TRY(clean_name(entry.name, options_.limits, base_.empty()));
    if (options_.owner) std::tie(entry.uid, entry.gid) = *options_.owner;
    if (options_.map_owner) std::tie(entry.uid, entry.gid) = TRY(options_.map_owner(entry.uid, entry.gid));
    if (where.name.empty()) return top(entry);
    const int parent = TRY(parent_fd(where.parent));
    if (options_.layer && where.name.starts_with(whiteout_prefix)) return whiteout(parent, where);
    switch (entry.type) {
      case TarType::directory: CHECK(make_directory(parent, where, entry)); break;
      case TarType::file: CHECK(make_file(parent, where, entry)); break;
      case TarType::hard_link: return make_hard_link(parent, where, entry);
      case TarType::symlink:
        CHECK(make_node(parent, where, entry,
                        [&](int at, const char* name) { return ::symlinkat(entry.link.c_str(), at, name); }));
        break;
      default: CHECK(make_special(parent, where, entry)); break;
    }
    return {};
  }

  std::string in_root(std::string_view path) const {
    if (base_.empty()) return path.empty() ? "." : std::string(path);
    return path.empty() ? base_ : base_ + "/" + std::string(path);
  }

  // The directory that holds the next entry; the last few are kept, because archives go directory by directory.
  Result<int> parent_fd(const std::string& path) {
    if (cached_fd_ && cached_path_ == path) return cached_fd_.get();
    auto fd = sys::open_beneath(root_, in_root(path), O_PATH | O_DIRECTORY);
    if (!fd && (fd.error().sys_errno() == ENOENT || (options_.layer && fd.error().sys_errno() == ENOTDIR)))
      fd = make_parents(path);
    if (!fd) return std::unexpected(std::move(fd).error());
    cached_fd_ = std::move(*fd);
    cached_path_ = path;
    return cached_fd_.get();
  }

  // Directories that the archive did not list. In a layer they may exist below and then look as they do there.
  Result<UniqueFd> make_parents(const std::string& path) {
    UniqueFd at = TRY(sys::open_beneath(root_, in_root(""), O_PATH | O_DIRECTORY));
    std::string done;
    for (std::string_view rest = path; !rest.empty();) {
      const std::string part(rest.substr(0, rest.find('/')));
      rest.remove_prefix(std::min(rest.size(), part.size() + 1));
      done += (done.empty() ? "" : "/") + part;
      auto next = sys::open_beneath(root_, in_root(done), O_PATH | O_DIRECTORY);
      if (!next && next.error().sys_errno() == ENOENT) {
        CHECK(make_parent(at.get(), part, done));
        next = sys::open_beneath(root_, in_root(done), O_PATH | O_DIRECTORY);
      } else if (!next && next.error().sys_errno() == ENOTDIR && options_.layer &&
                 is_whiteout_at(at.get(), part.c_str())) {
        ::unlinkat(at.get(), part.c_str(), 0);
        CHECK(make_parent(at.get(), part, done));
        next = sys::open_beneath(root_, in_root(done), O_PATH | O_DIRECTORY);
        if (next) CHECK(mark_opaque(next->get()));
      }
      if (!next) return std::unexpected(std::move(next).error());
      at = std::move(*next);
    }
    return at;
  }

  Result<UniqueFd> below_at(const std::string& path) const {
    return options_.below ? options_.below(path) : Result<UniqueFd>(UniqueFd());
  }

  Result<> make_parent(int parent, const std::string& name, const std::string& path) {
    struct stat below{};
    below.st_mode = S_IFDIR | 0755;
    if (options_.owner) std::tie(below.st_uid, below.st_gid) = *options_.owner;
    if (options_.map_owner) std::tie(below.st_uid, below.st_gid) = TRY(options_.map_owner(below.st_uid, below.st_gid));
    if (const UniqueFd fd = TRY(below_at(path)); fd) {
      struct stat status{};
      if (::fstat(fd.get(), &status) == 0 && S_ISDIR(status.st_mode)) below = status;
    }
    if (::mkdirat(parent, name.c_str(), 0700) != 0 && errno != EEXIST) return sys_fail("create directory {:?}", path);
    UniqueFd fd(::openat(parent, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!fd) return sys_fail("open directory {:?}", path);
    if (::fchown(fd.get(), below.st_uid, below.st_gid) != 0) return sys_fail("set the owner of {:?}", path);
    if (::fchmod(fd.get(), below.st_mode & 07777) != 0) return sys_fail("set the mode of {:?}", path);
    return {};
  }

  // "./": the destination's own attributes.
  Result<> top(const TarEntry& entry) {
    if (entry.type != TarType::directory)
      return fail(ErrorKind::invalid, "the destination is a directory, the entry is not");
    if (!base_.empty()) return {};  // `cp` leaves the directory it copies into as it is
    UniqueFd fd = TRY(sys::open_beneath(root_, ".", O_RDONLY | O_DIRECTORY));
    CHECK(set_owner_mode(fd.get(), entry));
    return remember("", entry);
  }

  enum class Existing : std::uint8_t { nothing, directory, whiteout };

  // Makes way for an entry: directories stay for directories, everything else goes.
  Result<Existing> make_way(int parent, const CleanName& where, bool for_directory) {
    struct stat status{};
    if (::fstatat(parent, where.name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) {
      if (errno == ENOENT) return Existing::nothing;
      return sys_fail("stat");
    }
    const bool is_directory = S_ISDIR(status.st_mode);
    if (is_directory && for_directory) return Existing::directory;
    if (options_.no_overwrite_dir_non_dir && is_directory != for_directory) {
      return is_directory ? fail(ErrorKind::invalid, "cannot overwrite directory {:?} with non-directory {:?}",
                                 "/" + in_root(where.parent + "/" + where.name), where.name)
                          : fail(ErrorKind::invalid, "cannot overwrite non-directory {:?} with directory {:?}",
                                 "/" + in_root(where.parent + "/" + where.name), where.name);
    }
    const bool was_whiteout = options_.layer && is_whiteout(status);
    if (is_directory) {
      CHECK(sys::remove_tree_at(parent, where.name));
    } else if (::unlinkat(parent, where.name.c_str(), 0) != 0 && errno != ENOENT) {
      return sys_fail("replace");
    }
    // The directory at hand may have been in what went, or reached through it.
    if (is_directory || S_ISLNK(status.st_mode)) cached_fd_.reset();
    return was_whiteout ? Existing::whiteout : Existing::nothing;
  }

  Result<> make_directory(int parent, const CleanName& where, const TarEntry& entry) {
    bool opaque = false;
    if (::mkdirat(parent, where.name.c_str(), 0700) != 0) {
      if (errno != EEXIST) return sys_fail("create directory");
      const Existing existing = TRY(make_way(parent, where, true));
      opaque = existing == Existing::whiteout;
      parent = TRY(parent_fd(where.parent));
      if (existing != Existing::directory && ::mkdirat(parent, where.name.c_str(), 0700) != 0)
        return sys_fail("create directory");
    }
    UniqueFd fd(::openat(parent, where.name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!fd) return sys_fail("open directory");
    CHECK(set_owner_mode(fd.get(), entry));
    if (opaque) CHECK(mark_opaque(fd.get()));
    return remember(where.path(), entry);
  }

  Result<> make_file(int parent, const CleanName& where, const TarEntry& entry) {
    CHECK(budget_.add_bytes(entry.size));
    constexpr int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
    UniqueFd fd(::openat(parent, where.name.c_str(), flags, 0600));
    if (!fd && errno == EEXIST) {
      CHECK(make_way(parent, where, false));
      parent = TRY(parent_fd(where.parent));
      fd = UniqueFd(::openat(parent, where.name.c_str(), flags, 0600));
    }
    if (!fd) return sys_fail("create");
    CHECK(entry.sparse ? write_sparse(fd.get(), entry) : write_plain(fd.get()));
    CHECK(set_owner_mode(fd.get(), entry));
    const Times times = times_of(entry);
    if (::futimens(fd.get(), times.data()) != 0) return sys_fail("set the times");
    return {};
  }

  Result<> write_all(int fd, std::span<const std::byte> bytes, std::uint64_t offset) {
    CHECK(budget_.check_disk(bytes.size()));
    while (!bytes.empty()) {
      const ssize_t put = ::pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset));
      if (put < 0 && errno == EINTR) continue;
      if (put < 0) return sys_fail("write");
      bytes = bytes.subspan(static_cast<std::size_t>(put));
      offset += static_cast<std::uint64_t>(put);
    }
    return {};
  }

  Result<> write_plain(int fd) {
    std::uint64_t offset = 0;
    for (;;) {
      const auto piece = TRY(reader_.chunk());
      if (piece.empty()) return {};
      CHECK(write_all(fd, piece, offset));
      offset += piece.size();
    }
  }

  Result<> write_sparse(int fd, const TarEntry& entry) {
    if (::ftruncate(fd, static_cast<off_t>(entry.size)) != 0) return sys_fail("set the size");
    return for_each_sparse_piece(reader_, entry, [&](std::span<const std::byte> bytes, std::uint64_t offset) {
      return write_all(fd, bytes, offset);
    });
  }

  Result<> make_hard_link(int parent, const CleanName& where, const TarEntry& entry) {
    const CleanName target = TRY(clean_name(entry.link, options_.limits, base_.empty()));
    if (target.name.empty()) return fail(ErrorKind::invalid, "invalid hard link to {:?}", entry.link.substr(0, 200));
    if (target.parent == where.parent && target.name == where.name) return {};
    auto from = sys::open_beneath(root_, in_root(target.parent), O_PATH | O_DIRECTORY);
    if (!from || ::faccessat(from->get(), target.name.c_str(), F_OK, AT_SYMLINK_NOFOLLOW) != 0) {
      const int reason = from ? errno : from.error().sys_errno();
      if (options_.layer && reason == ENOENT) return copy_from_below(parent, where, target);
      return sys_fail_text(reason, fmt::format("hard link to {:?}", entry.link.substr(0, 200)));
    }
    if (::linkat(from->get(), target.name.c_str(), parent, where.name.c_str(), 0) == 0) return {};
    if (errno == EEXIST) {
      CHECK(make_way(parent, where, false));
      parent = TRY(parent_fd(where.parent));
      if (::linkat(from->get(), target.name.c_str(), parent, where.name.c_str(), 0) == 0) return {};
    }
    return sys_fail("hard link to {:?}", entry.link.substr(0, 200));
  }

  // A layer may link to a file of a layer below; links cannot reach there, so the file is copied up with its new name.
  Result<> copy_from_below(int parent, const CleanName& where, const CleanName& target) {
    const std::string path = target.path();
    if (const UniqueFd from = TRY(below_at(path)); from) {
      struct stat status{};
      if (::fstat(from.get(), &status) != 0) return sys_fail("stat");
      if (S_ISREG(status.st_mode)) CHECK(budget_.add_bytes(static_cast<std::uint64_t>(status.st_size)));
      CHECK(budget_.check_disk(static_cast<std::uint64_t>(status.st_blocks) * 512));
      CHECK(make_way(parent, where, false));
      parent = TRY(parent_fd(where.parent));
      return copy_node(from.get(), parent, where.name);
    }
    return sys_fail_text(ENOENT, fmt::format("hard link to {:?}", path.substr(0, 200)));
  }

  template <class Make>
  Result<> make_node(int parent, const CleanName& where, const TarEntry& entry, Make make) {
    if (make(parent, where.name.c_str()) != 0) {
      if (errno != EEXIST) return sys_fail("create");
      CHECK(make_way(parent, where, false));
      parent = TRY(parent_fd(where.parent));
      if (make(parent, where.name.c_str()) != 0) return sys_fail("create");
    }
    if (::fchownat(parent, where.name.c_str(), entry.uid, entry.gid, AT_SYMLINK_NOFOLLOW) != 0)
      return sys_fail("set the owner");
    if (!entry.xattrs.empty()) {
      UniqueFd fd(::openat(parent, where.name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
      if (!fd) return sys_fail("open");
      CHECK(set_xattrs(fd_path(fd.get()), entry));
    }
    const Times times = times_of(entry);
    if (::utimensat(parent, where.name.c_str(), times.data(), AT_SYMLINK_NOFOLLOW) != 0)
      return sys_fail("set the times");
    return {};
  }

  Result<> make_special(int parent, const CleanName& where, const TarEntry& entry) {
    mode_t type = S_IFIFO;
    if (entry.type == TarType::character) type = S_IFCHR;
    if (entry.type == TarType::block) type = S_IFBLK;
    if (type != S_IFIFO && !options_.devices) return fail(ErrorKind::invalid, "device nodes are not taken here");
    const dev_t device = type == S_IFIFO ? 0 : makedev(entry.major, entry.minor);
    CHECK(make_node(parent, where, entry,
                    [&](int at, const char* name) { return ::mknodat(at, name, type | 0600, device); }));
    parent = TRY(parent_fd(where.parent));
    // Through a descriptor that is known to be the node: a container may have put a link in its place by now, and
    // chmod by name would follow that out of the root.
    UniqueFd fd(::openat(parent, where.name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
    struct stat status{};
    if (!fd || ::fstat(fd.get(), &status) != 0) return sys_fail("open");
    if ((status.st_mode & S_IFMT) != type) return fail(ErrorKind::conflict, "somebody else changed it meanwhile");
    if (::chmod(fd_path(fd.get()).c_str(), entry.mode & 07777) != 0) return sys_fail("set the mode");
    return {};
  }

  Result<> whiteout(int parent, const CleanName& where) {
    if (where.name == opaque_name) {
      UniqueFd fd(::openat(parent, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
      if (!fd) return sys_fail("open directory");
      return mark_opaque(fd.get());
    }
    if (where.name.starts_with(whiteout_meta)) return {};  // AUFS' own bookkeeping
    const std::string name = where.name.substr(whiteout_prefix.size());
    if (name.empty() || name == "." || name == "..") return fail(ErrorKind::invalid, "invalid whiteout");
    if (::mknodat(parent, name.c_str(), S_IFCHR, 0) == 0) return {};
    if (errno != EEXIST) return sys_fail("make a whiteout");
    // A whiteout speaks of the layers below, so what this layer brought stays; a directory then hides what was there.
    UniqueFd fd(::openat(parent, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    return fd ? mark_opaque(fd.get()) : Result<>();
  }

  Result<> remember(std::string path, const TarEntry& entry) {
    remembered_ += path.size() + sizeof(directories_[0]);
    if (remembered_ > max_remembered)
      return fail(ErrorKind::invalid, "archive has more than {} MiB of directory names", max_remembered >> 20);
    directories_.emplace_back(std::move(path), times_of(entry));
    return {};
  }

  // Last, because writing into a directory changes its time.
  Result<> set_directory_times() {
    for (const auto& [path, times] : directories_ | std::views::reverse) {
      auto fd = sys::open_beneath(root_, in_root(path), O_RDONLY | O_DIRECTORY);
      if (!fd) continue;  // replaced by a later entry
      if (::futimens(fd->get(), times.data()) != 0) return sys_fail("set the times of {:?}", path);
    }
    return {};
  }

  TarReader reader_;
  ExtractBudget budget_;
  int root_;
  std::string base_;  // the destination in the root, without slashes at its ends
  const ExtractOptions& options_;
  UniqueFd cached_fd_;
  std::string cached_path_;
  std::vector<std::pair<std::string, Times>> directories_;
  std::size_t remembered_ = 0;  // bytes
};

std::string trimmed(std::string_view path) {
  while (path.starts_with('/')) path.remove_prefix(1);
  while (path.ends_with('/')) path.remove_suffix(1);
  return path == "." ? std::string() : std::string(path);
}

}  // namespace

Result<ExtractStats> extract(ByteSource& tar, int root_fd, std::string_view path, const ExtractOptions& options) {
  const std::string base = trimmed(path);
  // The destination must be there and a directory.
  CHECK(sys::open_beneath(root_fd, base.empty() ? "." : base, O_PATH | O_DIRECTORY));
  std::unique_ptr<ByteSource> plain;
  if (options.decompress) plain = TRY(decompress(tar));
  Extractor extractor(plain ? *plain : tar, root_fd, base, options);
  auto done = extractor.run();
  if (!done) return std::unexpected(printable(done.error()));
  return done;
}

}  // namespace corten::store
