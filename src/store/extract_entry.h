// What the entries of an archive have in common when they become files: name, owner, mode, attributes, times. Private
// to extract.cc.
#pragma once

#include <time.h>

#include <array>
#include <string>
#include <string_view>

#include "store/archive.h"
#include "store/tar.h"

namespace corten::store {

struct CleanName {
  std::string parent;  // without slashes at its ends; "" for the top
  std::string name;    // "" for the destination itself
  std::string path() const { return parent.empty() ? name : parent + "/" + name; }
};

// "a/./b//c/../d" → a/b/d. ".." at the top stays at the top, as in a chroot; with a destination inside a root
// (`at_root` false) it would leave the destination and is refused.
Result<CleanName> clean_name(std::string_view name, const ExtractLimits& limits, bool at_root);

// The descriptor must not be O_PATH.
Result<> set_owner_mode(int fd, const TarEntry& entry);
// `path` must be safe from links: /proc/self/fd/….
Result<> set_xattrs(const std::string& path, const TarEntry& entry);

using Times = std::array<timespec, 2>;
Times times_of(const TarEntry& entry);

// Names from an archive may have line feeds and worse, and go from here into answers and logs.
Error printable(const Error& error);

}  // namespace corten::store
