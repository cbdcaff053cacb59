// How overlayfs writes down, in a layer's own files, what the layer takes away from those below.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "base/error.h"
#include "store/tree.h"

namespace corten::store {

inline constexpr const char* opaque_xattr = "trusted.overlay.opaque";

// A character device 0:0: the name is gone.
inline bool is_whiteout(const struct stat& status) { return S_ISCHR(status.st_mode) && status.st_rdev == 0; }

inline bool is_whiteout_at(int directory, const char* name) {
  struct stat status{};
  return ::fstatat(directory, name, &status, AT_SYMLINK_NOFOLLOW) == 0 && is_whiteout(status);
}

// An opaque directory hides what the layers below have in it. The descriptor must not be O_PATH.
inline bool is_opaque(int directory) {
  char value = 0;
  return ::fgetxattr(directory, opaque_xattr, &value, 1) == 1 && value == 'y';
}

inline Result<> mark_opaque(int directory) {
  // O_PATH descriptors have no fsetxattr; the magic link is our own descriptor.
  if (::setxattr(fd_path(directory).c_str(), opaque_xattr, "y", 1, 0) != 0) return sys_fail("mark a directory opaque");
  return {};
}

}  // namespace corten::store
