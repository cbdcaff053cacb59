#include "store/extract_entry.h"

#include <sys/stat.h>
#include <sys/xattr.h>

#include <algorithm>
#include <vector>

#include "store/tree.h"

namespace corten::store {

Result<CleanName> clean_name(std::string_view name, const ExtractLimits& limits, bool at_root) {
  if (name.size() > limits.path_bytes)
    return fail(ErrorKind::invalid, "name of {} bytes is longer than {}", name.size(), limits.path_bytes);
  std::vector<std::string_view> parts;
  for (std::string_view rest = name; !rest.empty();) {
    const std::size_t slash = rest.find('/');
    const std::string_view part = rest.substr(0, slash);
    rest.remove_prefix(slash == std::string_view::npos ? rest.size() : slash + 1);
    if (part.empty() || part == ".") continue;
    if (part != "..") {
      if (part.size() > 255) return fail(ErrorKind::invalid, "file name of {} bytes is longer than 255", part.size());
      parts.push_back(part);
    } else if (!parts.empty()) {
      parts.pop_back();
    } else if (!at_root) {
      return fail(ErrorKind::invalid, "name is outside of the destination");
    }
  }
  if (parts.size() > limits.depth)
    return fail(ErrorKind::invalid, "name has {} levels, at most {} are taken", parts.size(), limits.depth);
  CleanName out;
  if (parts.empty()) return out;
  out.name = parts.back();
  parts.pop_back();
  for (const std::string_view part : parts) out.parent += (out.parent.empty() ? "" : "/") + std::string(part);
  return out;
}

Result<> set_owner_mode(int fd, const TarEntry& entry) {
  // The owner first: chown takes set-id bits and file capabilities away.
  if (::fchown(fd, entry.uid, entry.gid) != 0) return sys_fail("set the owner to {}:{}", entry.uid, entry.gid);
  if (::fchmod(fd, entry.mode & 07777) != 0) return sys_fail("set the mode to {:o}", entry.mode & 07777);
  if (!entry.xattrs.empty()) return set_xattrs(fd_path(fd), entry);
  return {};
}

Result<> set_xattrs(const std::string& path, const TarEntry& entry) {
  for (const auto& [key, value] : entry.xattrs) {
    // overlayfs' own: from an archive they could point into other layers.
    if (key.starts_with("trusted.overlay.") || key.starts_with("user.overlay.")) continue;
    if (key.size() > 255 || value.size() > 65536) return fail(ErrorKind::invalid, "extended attribute is too large");
    if (::setxattr(path.c_str(), key.c_str(), value.data(), value.size(), 0) == 0) continue;
    // The file system or the kind of file has no such attributes: Docker goes on, too.
    if (errno == ENOTSUP || errno == EPERM || errno == EINVAL) continue;
    return sys_fail("set extended attribute {:?}", key);
  }
  return {};
}

Times times_of(const TarEntry& entry) {
  const auto bounded = [](timespec time) { return time.tv_sec < 0 || time.tv_sec > (1LL << 40) ? timespec{} : time; };
  return {bounded(entry.atime.value_or(entry.mtime)), bounded(entry.mtime)};
}

Error printable(const Error& error) {
  std::string text = error.text();
  std::replace_if(text.begin(), text.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; }, '?');
  return {error.kind(), std::move(text), error.sys_errno()};
}

}  // namespace corten::store
