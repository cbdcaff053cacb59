// Detached overlay mounts. Private to the driver.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/unique_fd.h"

namespace corten::store {

struct OverlayMount {
  std::string base;                 // the snapshots directory, absolute
  int base_fd = -1;                 // the same (borrowed)
  std::vector<std::string> lowers;  // relative to base, top first, at least one
  std::string upper;                // empty: read-only
  std::string work;
  bool read_only = false;
  bool ephemeral = false;  // "volatile"
  int userns_fd = -1;
  bool legacy = false;
};

Result<UniqueFd> mount_overlay(const OverlayMount& mount);

}  // namespace corten::store
