// Words of a mount's option list (config.md, "Linux mount options"). Private to runtime's compile half.
#pragma once

#include <string>
#include <vector>

#include "base/error.h"
#include "runtime/launch_plan.h"

namespace corten::runtime {

// Sets the plan's attributes, propagation, recursion and parameters from the words, in order, so that a later word
// wins. A word that is no attribute is a parameter of the file system (filesystem mounts) or an error (binds).
// `is_bind` is set by "bind" and "rbind".
Result<> apply_mount_options(const std::vector<std::string>& options, MountPlan& mount, bool& is_bind);

// All words that are understood by themselves, sorted: for `corten-runtime features`.
std::vector<std::string> known_mount_options();

}  // namespace corten::runtime
