// For tests, the fuzz program and the benchmark: images in files without a name, mounted where nobody sees them, and
// what is in them.
#pragma once

#include <dirent.h>
#include <fcntl.h>
#include <spawn.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <ostream>
#include <string>
#include <tuple>
#include <vector>

#include "base/unique_fd.h"
#include "erofs/writer.h"

namespace corten::erofs {

inline std::span<const std::byte> bytes_of(std::string_view text) { return std::as_bytes(std::span(text)); }

inline std::string text_of(const Result<>& result) { return result ? "" : result.error().text(); }

struct Seen {
  mode_t mode = 0;
  std::uint32_t uid = 0, gid = 0;
  std::int64_t mtime = 0, nsec = 0;
  std::uint64_t nlink = 0, size = 0;
  unsigned major = 0, minor = 0;
  std::string data{};     // a file's bytes, a link's target
  std::string same_as{};  // another name of the same inode: the first in order; its own when it is that
  std::map<std::string, std::string> xattrs{};
  bool operator==(const Seen&) const = default;
};

inline std::ostream& operator<<(std::ostream& out, const Seen& seen) {
  out << std::oct << seen.mode << std::dec << ' ' << seen.uid << ':' << seen.gid << ' ' << seen.mtime << '.'
      << seen.nsec << " nlink " << seen.nlink << " size " << seen.size << " device " << seen.major << ':' << seen.minor
      << " same as " << seen.same_as << " data " << std::hash<std::string>()(seen.data);
  for (const auto& [name, value] : seen.xattrs) out << ' ' << name << '=' << value.size();
  return out;
}
using Contents = std::map<std::string, Seen>;  // by path; "" is the top

inline UniqueFd new_image_file() { return UniqueFd(::open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600)); }

// A mount of the image that is attached nowhere; none when the kernel cannot.
inline UniqueFd mount_source(const std::string& source) {
  const UniqueFd context(::fsopen("erofs", FSOPEN_CLOEXEC));
  if (!context) return {};
  if (::fsconfig(context.get(), FSCONFIG_SET_STRING, "source", source.c_str(), 0) != 0) return {};
  if (::fsconfig(context.get(), FSCONFIG_SET_FLAG, "ro", nullptr, 0) != 0) return {};
  if (::fsconfig(context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) != 0) return {};
  return UniqueFd(::fsmount(context.get(), FSMOUNT_CLOEXEC, 0));
}

inline UniqueFd mount_image(int image) { return mount_source("/proc/self/fd/" + std::to_string(image)); }

inline std::string why_no_mount() {
  return std::string("the kernel does not mount EROFS from a file here: ") + std::strerror(errno);
}

// 0 when fsck.erofs finds the image sound, 127 when it is not installed; else what it said is on standard error.
inline int check_image(int image) {
  int read_end[2] = {-1, -1};
  if (::pipe2(read_end, O_CLOEXEC) != 0) return -1;
  const UniqueFd from(read_end[0]);
  UniqueFd to(read_end[1]);
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, image, 9);
  ::posix_spawn_file_actions_adddup2(&actions, to.get(), 1);
  ::posix_spawn_file_actions_adddup2(&actions, to.get(), 2);
  const char* argv[] = {"fsck.erofs", "--extract", "/proc/self/fd/9", nullptr};
  pid_t child = -1;
  const int failed = ::posix_spawnp(&child, argv[0], &actions, nullptr, const_cast<char**>(argv), environ);
  ::posix_spawn_file_actions_destroy(&actions);
  to.reset();
  if (failed != 0) return 127;
  std::string said;
  char buffer[4096];
  for (ssize_t count = 0; (count = ::read(from.get(), buffer, sizeof buffer)) > 0;)
    if (said.size() < 65536) said.append(buffer, static_cast<std::size_t>(count));
  int status = 0;
  ::waitpid(child, &status, 0);
  int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128;
  // Some of its complaints leave its exit code at 0.
  if (code == 0 && said.find("<E>") != std::string::npos) code = 1;
  if (code != 0) std::fputs(said.c_str(), stderr);
  return code;
}

namespace detail {

inline std::map<std::string, std::string> xattrs_of(const std::string& path) {
  std::map<std::string, std::string> out;
  std::string names(65536, '\0'), value(65536, '\0');
  const ssize_t length = ::llistxattr(path.c_str(), names.data(), names.size());
  if (length < 0) {
    out["error"] = std::strerror(errno);
    return out;
  }
  for (ssize_t at = 0; at < length; at += static_cast<ssize_t>(std::strlen(&names[static_cast<std::size_t>(at)])) + 1) {
    const char* name = &names[static_cast<std::size_t>(at)];
    const ssize_t size = ::lgetxattr(path.c_str(), name, value.data(), value.size());
    out[name] =
        size < 0 ? std::string("error: ") + std::strerror(errno) : value.substr(0, static_cast<std::size_t>(size));
  }
  return out;
}

inline std::string content_of(int directory, const char* name, std::uint64_t size) {
  const UniqueFd file(::openat(directory, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!file) return std::string("open: ") + std::strerror(errno);
  std::string data(size, '\0');
  std::size_t done = 0;
  while (done < size) {
    const ssize_t count = ::read(file.get(), data.data() + done, size - done);
    if (count <= 0) return std::string("read: ") + std::strerror(errno);
    done += static_cast<std::size_t>(count);
  }
  if (::read(file.get(), data.data(), std::min<std::size_t>(size, 1)) > 0) return "longer than its size";
  return data;
}

}  // namespace detail

inline constexpr std::uint64_t read_whole_limit = 64U << 20;  // of larger files the content is not compared

inline Seen look(int directory, const std::string& name, const std::string& path, std::map<ino_t, std::string>& known) {
  struct stat status{};
  const char* at = name.empty() ? "." : name.c_str();
  Seen seen;
  if (::fstatat(directory, at, &status, AT_SYMLINK_NOFOLLOW) != 0) {
    seen.data = std::string("stat: ") + std::strerror(errno);
    return seen;
  }
  seen = {.mode = status.st_mode,
          .uid = status.st_uid,
          .gid = status.st_gid,
          .mtime = status.st_mtim.tv_sec,
          .nsec = status.st_mtim.tv_nsec,
          .nlink = status.st_nlink,
          .major = major(status.st_rdev),
          .minor = minor(status.st_rdev)};
  if (status.st_ino == 0) seen.data = "inode number 0";
  seen.same_as = known.emplace(status.st_ino, path).first->second;
  if (!S_ISDIR(status.st_mode)) seen.size = static_cast<std::uint64_t>(status.st_size);
  if (S_ISREG(status.st_mode) && seen.size <= read_whole_limit)
    seen.data = detail::content_of(directory, at, seen.size);
  if (S_ISLNK(status.st_mode)) {
    seen.data.resize(4096);
    const ssize_t length = ::readlinkat(directory, at, seen.data.data(), seen.data.size());
    seen.data.resize(length < 0 ? 0 : static_cast<std::size_t>(length));
  }
  seen.xattrs = detail::xattrs_of("/proc/self/fd/" + std::to_string(directory) + "/" + at);
  return seen;
}

inline void look_beneath(int directory, const std::string& path, Contents& out, std::map<ino_t, std::string>& known) {
  DIR* stream = ::fdopendir(::openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (stream == nullptr) return;
  std::vector<std::string> names;
  bool dot = false, dot_dot = false;
  while (const dirent* entry = ::readdir(stream)) {
    const std::string_view name = entry->d_name;
    if (name == ".") {
      dot = true;
    } else if (name == "..") {
      dot_dot = true;
    } else {
      names.emplace_back(name);
    }
  }
  ::closedir(stream);
  if (!dot || !dot_dot || !std::ranges::is_sorted(names)) out[path].data = "its entries are not as they should be";
  std::ranges::sort(names);
  for (const std::string& name : names) {
    std::string full = path;
    if (!full.empty()) full += '/';
    full += name;
    const Seen& seen = out[full] = look(directory, name, full, known);
    if (!S_ISDIR(seen.mode)) continue;
    const UniqueFd below(::openat(directory, name.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    look_beneath(below.get(), full, out, known);
  }
}

// Everything in a mounted image. `same_as` is made the first name in the order of paths.
inline Contents contents_of(int mount) {
  Contents out;
  std::map<ino_t, std::string> known;
  const UniqueFd top(::openat(mount, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  out[""] = look(top.get(), "", "", known);
  look_beneath(top.get(), "", out, known);
  std::map<std::string, std::string> first;
  for (auto& [path, seen] : out) seen.same_as = first.emplace(seen.same_as, path).first->second;
  return out;
}

// What the image should hold after the same calls, by the rules in writer.h (without links as parents).
class Model {
 public:
  Model() { nodes_[""] = std::make_shared<Seen>(Seen{.mode = S_IFDIR | 0755}); }

  void put(const std::string& path, const Seen& seen) {
    make_parents(path);
    const auto known = nodes_.find(path);
    if (S_ISDIR(seen.mode) && known != nodes_.end() && S_ISDIR(known->second->mode)) {
      *known->second = seen;
      return;
    }
    forget(path);
    nodes_[path] = std::make_shared<Seen>(seen);
  }
  void link(const std::string& path, const std::string& target) {
    if (path == target) return;
    const auto node = nodes_.at(target);
    make_parents(path);
    forget(path);
    nodes_[path] = node;
  }
  const Seen* find(const std::string& path) const {
    const auto known = nodes_.find(path);
    return known == nodes_.end() ? nullptr : known->second.get();
  }
  Contents contents() const {
    Contents out;
    std::map<const Seen*, std::pair<std::string, std::uint64_t>> names;
    for (const auto& [path, node] : nodes_) ++names.try_emplace(node.get(), path, 0).first->second.second;
    for (const auto& [path, node] : nodes_) {
      Seen& seen = out[path] = *node;
      std::tie(seen.same_as, seen.nlink) = names.at(node.get());
      if (S_ISDIR(seen.mode)) seen.nlink = 2;
    }
    for (const auto& [path, node] : nodes_)
      if (S_ISDIR(node->mode) && !path.empty()) ++out[parent_of(path)].nlink;
    return out;
  }

 private:
  static std::string parent_of(const std::string& path) {
    const std::size_t slash = path.rfind('/');
    return slash == std::string::npos ? "" : path.substr(0, slash);
  }
  void make_parents(const std::string& path) {
    if (path.empty()) return;
    const std::string parent = parent_of(path);
    if (nodes_.contains(parent)) return;
    make_parents(parent);
    nodes_[parent] = std::make_shared<Seen>(Seen{.mode = S_IFDIR | 0755});
  }
  void forget(const std::string& path) {
    nodes_.erase(path);
    const std::string below = path + "/";
    for (auto at = nodes_.lower_bound(below); at != nodes_.end() && at->first.starts_with(below);)
      at = nodes_.erase(at);
  }

  std::map<std::string, std::shared_ptr<Seen>> nodes_;
};

// Feeds the writer and the model with the same entries.
class Recorder {
 public:
  explicit Recorder(const ImageOptions& options = {}) : file(new_image_file()), writer(open_writer(options)) {}

  Result<> put(const std::string& path, const Seen& seen) {
    const Result<> done = write(path, seen);
    if (done) model.put(path, seen);
    return done;
  }
  Result<> link(const std::string& path, const std::string& target) {
    const Result<> done = writer.add_hard_link(path, target);
    if (done) model.link(path, target);
    return done;
  }

  UniqueFd file;
  ImageWriter writer;
  Model model;

 private:
  ImageWriter open_writer(const ImageOptions& options) const {
    auto made = ImageWriter::create(file.get(), options);
    if (!made) std::abort();
    return std::move(*made);
  }
  Result<> write(const std::string& path, const Seen& seen) {
    std::vector<Xattr> xattrs;
    for (const auto& [name, value] : seen.xattrs) xattrs.push_back({.name = name, .value = value});
    const Attributes attributes{.mode = seen.mode & 07777,
                                .uid = seen.uid,
                                .gid = seen.gid,
                                .mtime = {.tv_sec = seen.mtime, .tv_nsec = seen.nsec},
                                .xattrs = xattrs};
    switch (seen.mode & S_IFMT) {
      case S_IFDIR: return writer.add_directory(path, attributes);
      case S_IFLNK: return writer.add_symlink(path, attributes, seen.data);
      case S_IFCHR: return writer.add_node(path, attributes, NodeType::character, seen.major, seen.minor);
      case S_IFBLK: return writer.add_node(path, attributes, NodeType::block, seen.major, seen.minor);
      case S_IFIFO: return writer.add_node(path, attributes, NodeType::fifo);
      case S_IFSOCK: return writer.add_node(path, attributes, NodeType::socket);
      default: break;
    }
    CHECK(writer.begin_file(path, attributes, seen.data.size()));
    // In pieces of a size that has nothing to do with blocks.
    for (std::string_view left = seen.data; !left.empty();
         left.remove_prefix(std::min<std::size_t>(left.size(), 50001)))
      CHECK(writer.write(bytes_of(left.substr(0, 50001))));
    return writer.end_file();
  }
};

inline Seen file_seen(std::string data, mode_t mode = 0644) {
  Seen seen{.mode = S_IFREG | mode};
  seen.size = data.size();
  seen.data = std::move(data);
  return seen;
}
inline Seen link_seen(std::string target) {
  Seen seen{.mode = S_IFLNK | 0777};
  seen.size = target.size();
  seen.data = std::move(target);
  return seen;
}
inline Seen directory_seen(mode_t mode = 0755) { return Seen{.mode = S_IFDIR | mode}; }

// Bytes that are not the same anywhere.
inline std::string pattern(std::size_t size, std::uint64_t seed = 1) {
  std::string out(size, '\0');
  for (std::size_t i = 0; i < size; ++i) {
    seed = seed * 6364136223846793005U + 1442695040888963407U;
    out[i] = static_cast<char>(seed >> 56);
  }
  return out;
}

// Words from a short list, which LZ4 makes a third to a half of.
inline std::string words(std::size_t size, std::uint64_t seed = 1) {
  const std::string list = pattern(8 * 256, 99);
  std::string out;
  for (const char pick : pattern(size / 8 + 1, seed)) out.append(list, static_cast<unsigned char>(pick) * 8U, 8);
  out.resize(size);
  return out;
}

}  // namespace corten::erofs
