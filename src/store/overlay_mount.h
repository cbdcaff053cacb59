// Detached overlay mounts, made the way that the kernel has. Private to the driver.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/unique_fd.h"
#include "store/image_mount.h"

namespace corten::store {

// What overlayfs stacks.
inline constexpr std::size_t max_stacked = 500;

struct OverlayLower {
  std::string name;      // a directory, relative to the base; its first component holds nothing else
  LayerRoot image = {};  // or this
};

// What the kernel cannot do, or shall not for a test.
struct OverlayWay {
  bool one_option = false;  // before 6.7 one option of a page holds the paths of all layers
  bool attached = false;    // before 6.15 layers must lie on attached mounts
  std::size_t stack_limit = max_stacked;
};

struct OverlayMount {
  std::string base;                  // the snapshots directory, absolute
  int base_fd = -1;                  // the same (borrowed)
  std::vector<OverlayLower> lowers;  // top first, at least one; two without an upper one
  std::string upper;                 // empty: read-only
  std::string work;
  bool read_only = false;
  bool ephemeral = false;  // "volatile"
  int userns_fd = -1;
  OverlayWay way;
};

// More lower layers than the limit: the lowest of them become one overlay of their own, which the mount keeps alive;
// twice as many, less one, are possible.
Result<UniqueFd> mount_overlay(const OverlayMount& mount);

}  // namespace corten::store
