// Detached overlay mounts. Private to the driver.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/unique_fd.h"

namespace corten::store {

struct OverlayMount {
  std::string base;  // the snapshots directory, absolute
  int base_fd = -1;  // the same (borrowed)
  // Top first, at least one: relative to base, or the fd_path of a detached mount's root, which `roots` keeps open.
  std::vector<std::string> lowers;
  std::vector<std::shared_ptr<const UniqueFd>> roots;
  std::string upper;  // empty: read-only
  std::string work;
  bool read_only = false;
  bool ephemeral = false;  // "volatile"
  int userns_fd = -1;
  bool legacy = false;
};

Result<UniqueFd> mount_overlay(const OverlayMount& mount);

}  // namespace corten::store
