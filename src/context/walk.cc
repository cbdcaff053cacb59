#include "context/walk.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <time.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "store/tree.h"
#include "sys/beneath.h"

namespace corten::context {
namespace {

struct Name {
  std::string text;
  unsigned char type = DT_UNKNOWN;
};

// As the kernel lays it out in getdents64.
struct DirectoryEntry {
  std::uint64_t inode;
  std::int64_t offset;
  unsigned short length;
  unsigned char type;
  char name[];
};

std::int64_t nanoseconds(const statx_timestamp& time) {
  // A time that does not fit is as good as none.
  constexpr std::int64_t limit = INT64_MAX / 1'000'000'000 - 1;
  return std::clamp<std::int64_t>(time.tv_sec, -limit, limit) * 1'000'000'000 + time.tv_nsec;
}

class Walk {
 public:
  Walk(std::string what, const WalkOptions& options, const std::stop_token& stop)
      : what_(std::move(what)), options_(options), stop_(stop) {}

  Result<Walked> all(UniqueFd folder) {
    timespec time{};
    // The clock of files' times, which is coarser than the usual one.
    ::clock_gettime(CLOCK_REALTIME_COARSE, &time);
    out_.started_ns = std::int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
    CHECK(run(folder.get(), "", {}));
    out_.folder = std::move(folder);
    return std::move(out_);
  }

  // The parents of `path`, itself and all below it.
  Result<Walked> part(UniqueFd folder, std::string_view path) {
    UniqueFd parent = TRY(reopen(folder.get()));
    for (std::string prefix; !path.empty();) {
      const std::size_t slash = path.find('/');
      const std::string name(path.substr(0, slash));
      path.remove_prefix(slash == std::string_view::npos ? path.size() : slash + 1);
      if (name.empty()) continue;
      struct statx status{};
      const std::string full = prefix + name;
      if (!TRY(look(parent.get(), name, full, status))) break;
      CHECK(add(parent.get(), name, full, status));
      if (!S_ISDIR(status.stx_mode)) break;
      parent = TRY(enter(parent.get(), name, full));
      if (!parent) break;
      prefix = full + "/";
      if (path.empty()) CHECK(run(parent.get(), prefix, {}));
    }
    out_.folder = std::move(folder);
    return std::move(out_);
  }

 private:
  struct Frame {
    UniqueFd fd;
    std::vector<Name> names;  // sorted
    std::size_t next = 0;
    std::string prefix;  // of the paths: "" or "a/b/"
    Ignore::Matched matched;
    std::size_t first = 0;  // index behind the directory's own entry
    bool ignored = false;   // the directory itself: listed only if something in it is
  };

  std::unexpected<Error> failed(std::string_view action, std::string_view path) const {
    return sys_fail_text(errno, fmt::format("{}: {} {}", what_, action, path.empty() ? "." : path));
  }

  Result<UniqueFd> reopen(int directory) const {
    UniqueFd fd(::openat(directory, ".", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!fd) return failed("open", "");
    return fd;
  }

  // None: it is gone, or no directory any more, or another mount where those are not entered.
  Result<UniqueFd> enter(int parent, const std::string& name, const std::string& path) const {
    if (options_.one_mount) {
      auto fd = sys::open_beneath(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, sys::Resolve::same_mount);
      if (fd) return fd;
      errno = fd.error().sys_errno();
      if (errno == EXDEV) return UniqueFd();
    } else {
      UniqueFd fd(::openat(parent, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
      if (fd) return fd;
    }
    if (errno == ENOENT || errno == ENOTDIR || errno == ELOOP) return UniqueFd();
    return failed("open", path);
  }

  // False: gone meanwhile.
  Result<bool> look(int parent, const std::string& name, const std::string& path, struct statx& status) const {
    constexpr unsigned wanted = STATX_BASIC_STATS;
    if (::statx(parent, name.c_str(), AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, wanted, &status) == 0) return true;
    if (errno == ENOENT) return false;
    return failed("stat", path);
  }

  Result<std::vector<Name>> names_in(int directory, std::string_view path) {
    std::vector<Name> names;
    for (;;) {
      const long got = ::syscall(SYS_getdents64, directory, buffer_.data(), buffer_.size());
      if (got < 0 && errno == ENOENT) break;  // removed while we read it
      if (got < 0) return failed("list", path);
      if (got == 0) break;
      for (long at = 0; at < got;) {
        const auto* entry = reinterpret_cast<const DirectoryEntry*>(buffer_.data() + at);
        at += entry->length;
        const std::string_view name = static_cast<const char*>(entry->name);
        if (name != "." && name != "..") names.push_back({std::string(name), entry->type});
      }
      if (names.size() + out_.listing.entries.size() > max_entries) return too_many();
    }
    std::ranges::sort(names, {}, &Name::text);
    return names;
  }

  std::unexpected<Error> too_many() const {
    return fail(ErrorKind::invalid, "{}: more than {} files", what_, max_entries);
  }

  Result<> add_xattrs(int parent, const std::string& name, const std::string& path, Entry& entry) const {
    const std::string by_fd = store::fd_path(parent) + "/" + name;
    std::array<char, 2048> some;
    const ssize_t have = ::llistxattr(by_fd.c_str(), some.data(), some.size());
    if (have == 0 || (have < 0 && errno != ERANGE)) return {};
    const UniqueFd fd(::openat(parent, name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
    if (!fd) return failed("open", path);
    auto kept = TRY_AS(store::kept_xattrs(fd.get()), fmt::format("{}: {}", what_, path));
    entry.xattrs.assign(std::make_move_iterator(kept.begin()), std::make_move_iterator(kept.end()));
    return {};
  }

  // False: a socket, or a link that is gone.
  Result<bool> add(int parent, const std::string& name, const std::string& path, const struct statx& status) {
    if (path.size() > max_path) return fail(ErrorKind::invalid, "{}: path of {} bytes is too long", what_, path.size());
    Entry entry{.path = path, .mode = status.stx_mode & 07777U, .mtime_ns = nanoseconds(status.stx_mtime)};
    FileIdentity identity;
    if (options_.owners) {
      entry.uid = status.stx_uid;
      entry.gid = status.stx_gid;
    }
    switch (status.stx_mode & S_IFMT) {
      case S_IFREG:
        entry.size = status.stx_size;
        identity = identity_of(status);
        break;
      case S_IFDIR: entry.kind = Kind::directory; break;
      case S_IFLNK: {
        entry.kind = Kind::symlink;
        std::array<char, 4097> target;
        const ssize_t length = ::readlinkat(parent, name.c_str(), target.data(), target.size());
        if (length < 0 && (errno == ENOENT || errno == EINVAL)) return false;
        if (length < 0) return failed("read link", path);
        if (static_cast<std::size_t>(length) > max_path)
          return fail(ErrorKind::invalid, "{}: target of link {} is too long", what_, path);
        entry.link.assign(target.data(), static_cast<std::size_t>(length));
        break;
      }
      case S_IFIFO: entry.kind = Kind::fifo; break;
      case S_IFCHR:
      case S_IFBLK:
        entry.kind = Kind::device;
        entry.block = S_ISBLK(status.stx_mode);
        entry.device = makedev(status.stx_rdev_major, status.stx_rdev_minor);
        break;
      default: return false;
    }
    if (options_.xattrs && entry.kind != Kind::symlink) CHECK(add_xattrs(parent, name, path, entry));
    out_.listing.entries.push_back(std::move(entry));
    out_.identities.push_back(identity);
    return true;
  }

  Result<> push(UniqueFd fd, std::string prefix, Ignore::Matched matched, bool ignored) {
    if (frames_.size() >= max_walk_depth)
      return fail(ErrorKind::invalid, "{}: more than {} levels of folders at {}", what_, max_walk_depth, prefix);
    auto names = TRY(names_in(fd.get(), prefix));
    frames_.push_back({.fd = std::move(fd),
                       .names = std::move(names),
                       .prefix = std::move(prefix),
                       .matched = std::move(matched),
                       .first = out_.listing.entries.size(),
                       .ignored = ignored});
    return {};
  }

  void pop() {
    const Frame& frame = frames_.back();
    // Nothing in it was taken back.
    if (frame.ignored && out_.listing.entries.size() == frame.first) {
      out_.listing.entries.pop_back();
      out_.identities.pop_back();
    }
    frames_.pop_back();
  }

  Result<> one(Frame& frame, const Name& name) {
    const std::string path = frame.prefix + name.text;
    const bool may_be_directory = name.type == DT_DIR || name.type == DT_UNKNOWN;
    Ignore::Matched matched;
    bool ignored = false;
    if (options_.ignore != nullptr && !options_.ignore->empty()) {
      ignored = options_.ignore->ignores(path, frame.matched, may_be_directory ? &matched : nullptr);
      if (ignored && (!may_be_directory || !options_.ignore->may_take_back_below(path, matched))) return {};
    }
    if (name.type == DT_SOCK) return {};
    struct statx status{};
    if (!TRY(look(frame.fd.get(), name.text, path, status))) return {};
    const bool directory = S_ISDIR(status.stx_mode);
    if (ignored && !directory) return {};
    if (out_.listing.entries.size() >= max_entries) return too_many();
    if (!directory) {
      CHECK(add(frame.fd.get(), name.text, path, status));
      return {};
    }
    UniqueFd fd = TRY(enter(frame.fd.get(), name.text, path));
    if (!fd && !options_.one_mount) return {};
    CHECK(add(frame.fd.get(), name.text, path, status));
    if (fd) return push(std::move(fd), path + "/", std::move(matched), ignored);  // ends the life of `frame`
    return {};
  }

  Result<> run(int directory, std::string prefix, Ignore::Matched matched) {
    CHECK(push(TRY(reopen(directory)), std::move(prefix), std::move(matched), false));
    while (!frames_.empty()) {
      Frame& frame = frames_.back();
      if (frame.next == frame.names.size()) {
        pop();
        continue;
      }
      if ((++looked_at_ & 0xffU) == 0 && stop_.stop_requested()) return fail(ErrorKind::cancelled, "cancelled");
      const Name name = std::move(frame.names[frame.next++]);
      CHECK(one(frame, name));
    }
    return {};
  }

  const std::string what_;
  const WalkOptions& options_;
  const std::stop_token& stop_;
  Walked out_;
  std::vector<Frame> frames_;
  std::vector<char> buffer_ = std::vector<char>(64U << 10);
  unsigned looked_at_ = 0;
};

}  // namespace

FileIdentity identity_of(const struct statx& status) {
  return {.device = makedev(status.stx_dev_major, status.stx_dev_minor),
          .inode = status.stx_ino,
          .size = status.stx_size,
          .mtime_ns = nanoseconds(status.stx_mtime),
          .ctime_ns = nanoseconds(status.stx_ctime)};
}

Result<Walked> walk(const std::string& folder, const WalkOptions& options, const std::stop_token& stop) {
  UniqueFd fd(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd && errno == ENOTDIR) return fail(ErrorKind::invalid, "build context {} is not a directory", folder);
  if (!fd) return sys_fail("open build context {}", folder);
  return Walk("build context " + folder, options, stop).all(std::move(fd));
}

Result<Walked> walk(int directory, const std::string& what, const WalkOptions& options, const std::stop_token& stop) {
  UniqueFd fd(::openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return sys_fail("open {}", what);
  return Walk(what, options, stop).all(std::move(fd));
}

Result<Walked> walk_part(int directory, const std::string& what, std::string_view path, const WalkOptions& options,
                         const std::stop_token& stop) {
  UniqueFd fd(::openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return sys_fail("open {}", what);
  // Of the top all is below.
  if (path.find_first_not_of('/') == std::string_view::npos) return Walk(what, options, stop).all(std::move(fd));
  return Walk(what, options, stop).part(std::move(fd), path);
}

}  // namespace corten::context
