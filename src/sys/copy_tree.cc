#include "sys/copy_tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/unique_fd.h"

namespace corten::sys {
namespace {

constexpr int max_depth = 512;
constexpr std::size_t chunk_bytes = std::size_t{1} << 30;

struct DirCloser {
  void operator()(DIR* directory) const { closedir(directory); }
};

std::string proc_path(int fd) { return fmt::format("/proc/self/fd/{}", fd); }

class Copier {
 public:
  explicit Copier(int top) : top_(top) {}

  Result<> directory(int from, int to, int depth) {
    if (depth > max_depth) return fail(ErrorKind::invalid, "directories are nested deeper than {}", max_depth);
    const int copy = openat(from, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (copy < 0) return sys_fail("open a directory");
    const std::unique_ptr<DIR, DirCloser> entries(fdopendir(copy));
    if (!entries) {
      const UniqueFd owner(copy);
      return sys_fail("read a directory");
    }
    errno = 0;
    while (const dirent* item = readdir(entries.get())) {
      const std::string name = item->d_name;
      if (name != "." && name != "..") CHECK_AS(entry(from, to, name, depth), name);
      errno = 0;
    }
    if (errno != 0) return sys_fail("read a directory");
    struct stat status{};
    if (fstat(from, &status) != 0) return sys_fail("stat a directory");
    CHECK(attributes(proc_path(from), proc_path(to)));
    // Last: filling the directory has changed its times.
    return owner_mode_times(to, "", status);
  }

 private:
  Result<> entry(int from, int to, const std::string& name, int depth) {
    struct stat status{};
    if (fstatat(from, name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) return sys_fail("stat");
    if (S_ISDIR(status.st_mode)) {
      const UniqueFd source(openat(from, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
      if (!source) return sys_fail("open");
      if (mkdirat(to, name.c_str(), 0700) != 0) return sys_fail("make the directory");
      const UniqueFd target(openat(to, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
      if (!target) return sys_fail("open the new directory");
      prefixes_.push_back(name);
      const auto done = directory(source.get(), target.get(), depth + 1);
      prefixes_.pop_back();
      return done;
    }
    const bool may_be_linked = status.st_nlink > 1;
    if (may_be_linked) {
      const auto known = links_.find({status.st_dev, status.st_ino});
      if (known != links_.end()) {
        if (linkat(top_, known->second.c_str(), to, name.c_str(), 0) != 0) return sys_fail("link");
        return {};
      }
    }
    if (S_ISREG(status.st_mode)) {
      CHECK(file(from, to, name, status));
    } else if (S_ISLNK(status.st_mode)) {
      CHECK(symbolic_link(from, to, name, status));
    } else {
      if (mknodat(to, name.c_str(), status.st_mode, status.st_rdev) != 0) return sys_fail("make the node");
      CHECK(owner_mode_times(to, name, status));
    }
    if (may_be_linked) links_[{status.st_dev, status.st_ino}] = below_top(name);
    return {};
  }

  Result<> file(int from, int to, const std::string& name, const struct stat& status) {
    const UniqueFd source(openat(from, name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
    if (!source) return sys_fail("open");
    const UniqueFd target(openat(to, name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
    if (!target) return sys_fail("create");
    for (;;) {
      const ssize_t count = copy_file_range(source.get(), nullptr, target.get(), nullptr, chunk_bytes, 0);
      if (count == 0) break;
      if (count < 0) {
        if (errno != EXDEV && errno != EINVAL && errno != EOPNOTSUPP) return sys_fail("copy");
        CHECK(read_and_write(source.get(), target.get()));
        break;
      }
    }
    // Owner first: a change of owner takes file capabilities and set-id bits away.
    if (fchown(target.get(), status.st_uid, status.st_gid) != 0) return sys_fail("change the owner");
    CHECK(attributes(proc_path(source.get()), proc_path(target.get())));
    if (fchmod(target.get(), status.st_mode & 07777) != 0) return sys_fail("change the mode");
    const std::array<timespec, 2> times{status.st_atim, status.st_mtim};
    if (futimens(target.get(), times.data()) != 0) return sys_fail("set the times");
    return {};
  }

  static Result<> read_and_write(int source, int target) {
    std::vector<char> buffer(1 << 18);
    for (;;) {
      const ssize_t count = read(source, buffer.data(), buffer.size());
      if (count < 0) return sys_fail("read");
      if (count == 0) return {};
      for (ssize_t done = 0; done < count;) {
        const ssize_t written = write(target, buffer.data() + done, static_cast<std::size_t>(count - done));
        if (written < 0) return sys_fail("write");
        done += written;
      }
    }
  }

  static Result<> symbolic_link(int from, int to, const std::string& name, const struct stat& status) {
    std::array<char, 4096> target;
    const ssize_t length = readlinkat(from, name.c_str(), target.data(), target.size());
    if (length < 0 || length == static_cast<ssize_t>(target.size())) return sys_fail("read the link");
    const std::string text(target.data(), static_cast<std::size_t>(length));
    if (symlinkat(text.c_str(), to, name.c_str()) != 0) return sys_fail("make the link");
    return owner_mode_times(to, name, status);
  }

  // Of `name` in `directory`, or of the directory itself when the name is empty.
  static Result<> owner_mode_times(int directory, const std::string& name, const struct stat& status) {
    const int flags = AT_SYMLINK_NOFOLLOW | (name.empty() ? AT_EMPTY_PATH : 0);
    if (fchownat(directory, name.c_str(), status.st_uid, status.st_gid, flags) != 0)
      return sys_fail("change the owner");
    if (!S_ISLNK(status.st_mode)) {
      const int result = name.empty() ? fchmod(directory, status.st_mode & 07777)
                                      : fchmodat(directory, name.c_str(), status.st_mode & 07777, 0);
      if (result != 0) return sys_fail("change the mode");
    }
    const std::array<timespec, 2> times{status.st_atim, status.st_mtim};
    const int result = name.empty() ? futimens(directory, times.data())
                                    : utimensat(directory, name.c_str(), times.data(), AT_SYMLINK_NOFOLLOW);
    if (result != 0) return sys_fail("set the times");
    return {};
  }

  // Attributes that the target's file system does not take (or that only overlayfs may write) are left out.
  static Result<> attributes(const std::string& from, const std::string& to) {
    std::vector<char> names(1 << 16);
    const ssize_t length = listxattr(from.c_str(), names.data(), names.size());
    if (length <= 0) return {};
    std::vector<char> value(1 << 16);
    for (const char* name = names.data(); name < names.data() + length; name += std::string_view(name).size() + 1) {
      if (std::string_view(name).starts_with("trusted.overlay.")) continue;
      const ssize_t size = getxattr(from.c_str(), name, value.data(), value.size());
      if (size < 0) continue;
      if (setxattr(to.c_str(), name, value.data(), static_cast<std::size_t>(size), 0) != 0 && errno != EOPNOTSUPP &&
          errno != EPERM)
        return sys_fail("set attribute {}", name);
    }
    return {};
  }

  std::string below_top(const std::string& name) const {
    std::string path;
    for (const std::string& prefix : prefixes_) path += prefix + '/';
    return path + name;
  }

  int top_;
  std::vector<std::string> prefixes_;
  // Where the first name of a file with several was copied to, relative to the top.
  std::map<std::pair<dev_t, ino_t>, std::string> links_;
};

}  // namespace

// On a thread of its own: the copier calls itself once a level, and an image can nest directories deeper than the stack
// of a server's thread reaches.
Result<> copy_tree(int from, int to) {
  Result<> done;
  std::thread([&] { done = Copier(to).directory(from, to, 0); }).join();
  return done;
}

}  // namespace corten::sys
