// What the two ways to make an overlay mount have in common. Private to overlay_mount.cc and overlay_attached.cc.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "store/overlay_mount.h"
#include "sys/mounts.h"

namespace corten::store {

// All as the kernel is to resolve them.
struct OverlayPaths {
  std::vector<std::string> lowers;
  std::string upper = {};
  std::string work = {};
  bool read_only = false;
  bool ephemeral = false;
};

inline std::string_view top_of(std::string_view path) { return path.substr(0, path.find('/')); }
inline std::string_view below_top(std::string_view path) { return path.substr(path.find('/')); }

// Those that the mount itself takes, and those that become one more for it.
inline std::pair<std::vector<std::string>, std::vector<std::string>> split_lowers(
    const std::vector<std::string>& lowers, std::size_t limit) {
  const std::size_t lower_part = std::min(lowers.size() - (limit - 1), max_stacked);
  const auto middle = lowers.end() - static_cast<std::ptrdiff_t>(lower_part);
  return {{lowers.begin(), middle}, {middle, lowers.end()}};
}

// Whether "lowerdir+" is there (Linux 6.7); asked once.
bool kernel_takes_single_layers();
// With an option for each layer.
Result<UniqueFd> mount_single(const OverlayPaths& paths);

// overlayfs makes its own files (work directory, copies) as whoever made the mount. On a mapped upper directory that
// must be an owner which the mapping knows, so this thread, which ends with the mount, takes the mapped root's ids and
// keeps its capabilities.
Result<> become_mapped_root(int mapped_copy);

// The calling thread gets a mount namespace and a working directory of its own, and is to end.
Result<UniqueFd> mount_in_own_namespace(const OverlayMount& mount);

}  // namespace corten::store
