#include "sys/beneath.h"

#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>

namespace corten::sys {
namespace {

// Each EAGAIN means that somebody renamed or mounted while the kernel walked; a peer who does only that cannot hold us
// for ever.
constexpr int max_attempts = 256;
constexpr std::size_t max_path = 4096;

std::uint64_t resolve_flags(Resolve resolve) {
  switch (resolve) {
    case Resolve::in_root: return RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
    case Resolve::beneath: return RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
    case Resolve::no_symlinks: return RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS;
    case Resolve::same_mount: return RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV;
  }
  return RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV;
}

std::string_view without_leading_slashes(std::string_view path) {
  const auto first = path.find_first_not_of('/');
  return first == std::string_view::npos ? std::string_view{} : path.substr(first);
}

Result<std::string> relative(std::string_view path) {
  if (path.size() > max_path) return fail(ErrorKind::invalid, "path is longer than {} bytes", max_path);
  if (path.find('\0') != std::string_view::npos) return fail(ErrorKind::invalid, "path has a NUL byte in it");
  const auto inside = without_leading_slashes(path);
  return inside.empty() ? std::string(".") : std::string(inside);
}

// The number of the descriptor, or -1 and errno.
int openat2_retrying(int root, const char* path, open_how how) {
  int fd = -1;
  for (int attempt = 0; attempt < max_attempts; ++attempt) {
    fd = static_cast<int>(::syscall(SYS_openat2, root, path, &how, sizeof how));
    if (fd >= 0 || (errno != EAGAIN && errno != EINTR)) return fd;
  }
  return fd;
}

open_how make_how(std::uint64_t flags, Resolve resolve, mode_t mode) {
  open_how how{};
  how.flags = flags | O_CLOEXEC;
  how.mode = mode;
  how.resolve = resolve_flags(resolve);
  return how;
}

constexpr std::uint64_t directory_flags = O_PATH | O_DIRECTORY;

// The deepest directory of `path` that exists, and what of the path is left to make.
struct Deepest {
  UniqueFd directory;
  std::string_view rest;
};
Result<Deepest> open_deepest(int root, std::string_view path, Resolve resolve) {
  std::string_view existing = path;
  while (true) {
    const std::string text = existing.empty() ? "." : std::string(existing);
    const int fd = openat2_retrying(root, text.c_str(), make_how(directory_flags, resolve, 0));
    if (fd >= 0) return Deepest{UniqueFd(fd), without_leading_slashes(path.substr(existing.size()))};
    if (errno != ENOENT || existing.empty()) return sys_fail("open directory /{}", existing);
    // A dangling link counts as missing here and then fails to be made, with EEXIST, which is what we want.
    const auto slash = existing.find_last_of('/');
    existing = slash == std::string_view::npos ? std::string_view{} : existing.substr(0, slash);
    while (existing.ends_with('/')) existing.remove_suffix(1);
  }
}

}  // namespace

Result<UniqueFd> open_beneath(int root, std::string_view path, std::uint64_t flags, Resolve resolve, mode_t mode) {
  const auto inside = TRY(relative(path));
  const int fd = openat2_retrying(root, inside.c_str(), make_how(flags, resolve, mode));
  if (fd < 0) return sys_fail("open {}", path);
  return UniqueFd(fd);
}

Result<UniqueFd> make_directories_beneath(int root, std::string_view path, mode_t mode, Resolve resolve) {
  const auto inside = TRY(relative(path));
  const int whole = openat2_retrying(root, inside.c_str(), make_how(directory_flags, resolve, 0));
  if (whole >= 0) return UniqueFd(whole);
  if (errno != ENOENT) return sys_fail("open directory {}", path);

  auto [directory, rest] = TRY(open_deepest(root, inside, resolve));
  while (!rest.empty()) {
    const auto slash = rest.find('/');
    const std::string name(rest.substr(0, slash));
    rest = slash == std::string_view::npos ? std::string_view{} : without_leading_slashes(rest.substr(slash));
    if (name == ".") continue;
    // ".." after a component that does not exist has no meaning that an attacker could not choose.
    if (name == "..") return fail(ErrorKind::invalid, "make directory {}: \"..\" after a missing directory", path);
    if (::mkdirat(directory.get(), name.c_str(), mode) != 0 && errno != EEXIST)
      return sys_fail("make directory {}", path);
    const int next = openat2_retrying(directory.get(), name.c_str(),
                                      make_how(directory_flags | O_NOFOLLOW, Resolve::no_symlinks, 0));
    if (next < 0) return sys_fail("make directory {}", path);
    directory = UniqueFd(next);
  }
  return std::move(directory);
}

Result<UniqueFd> make_file_beneath(int root, std::string_view path, mode_t mode, Resolve resolve) {
  const auto inside = TRY(relative(path));
  const int existing = openat2_retrying(root, inside.c_str(), make_how(O_PATH, resolve, 0));
  if (existing >= 0) {
    UniqueFd fd(existing);
    struct stat status{};
    if (::fstat(existing, &status) != 0) return sys_fail("stat {}", path);
    if (S_ISDIR(status.st_mode)) return sys_fail_text(EISDIR, fmt::format("make file {}", path));
    return fd;
  }
  if (errno != ENOENT) return sys_fail("open {}", path);

  const auto [parent, name] = split_path(inside);
  if (name.empty() || name == "." || name == "..")
    return fail(ErrorKind::invalid, "make file {}: not a file name", path);
  const auto directory = TRY(make_directories_beneath(root, parent, 0755, resolve));
  const std::string file(name);
  const int made =
      openat2_retrying(directory.get(), file.c_str(),
                       make_how(O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW, Resolve::no_symlinks, mode & 07777));
  if (made < 0) return sys_fail("make file {}", path);
  return UniqueFd(made);
}

Result<std::string> read_link_beneath(int root, std::string_view path, Resolve resolve) {
  const auto link = TRY(open_beneath(root, path, O_PATH | O_NOFOLLOW, resolve));
  std::array<char, max_path> buffer;
  const ssize_t length = ::readlinkat(link.get(), "", buffer.data(), buffer.size());
  if (length < 0) return sys_fail("read link {}", path);
  return std::string(buffer.data(), static_cast<std::size_t>(length));
}

Result<> symlink_beneath(int root, std::string_view path, const char* target, Resolve resolve) {
  const auto [parent, name] = split_path(path);
  if (name.empty() || name == "." || name == "..")
    return fail(ErrorKind::invalid, "make link {}: not a file name", path);
  const auto directory = TRY(open_beneath(root, parent, directory_flags, resolve));
  if (::symlinkat(target, directory.get(), std::string(name).c_str()) != 0) return sys_fail("make link {}", path);
  return {};
}

SplitPath split_path(std::string_view path) {
  while (path.ends_with('/')) path.remove_suffix(1);
  const auto slash = path.find_last_of('/');
  if (slash == std::string_view::npos) return {{}, path};
  return {path.substr(0, slash), path.substr(slash + 1)};
}

}  // namespace corten::sys
