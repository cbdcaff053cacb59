// A writable layer's files, brought to what their tar makes elsewhere. Private to the driver.
#pragma once

#include <sys/stat.h>

#include <functional>
#include <optional>
#include <string>

#include "base/time.h"
#include "base/unique_fd.h"
#include "store/snapshots.h"

namespace corten::store {

struct SettleOptions {
  struct stat top{};                // mode and owner that "/" has for whoever unpacks the layer
  std::optional<Timestamp> newest;  // what is younger gets this time
  // What the layers below have at a path, or none.
  std::function<Result<UniqueFd>(const std::string& path)> below;
};

// `upper` is the writable layer's own directory, mounted by nobody. Snapshots::settle says what is done to it.
Result<DiskUsage> settle_upper(int upper, const SettleOptions& options);

}  // namespace corten::store
