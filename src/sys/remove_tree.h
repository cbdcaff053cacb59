// Removal of large trees that may be given up half-way.
#pragma once

#include <atomic>
#include <string>

#include "base/error.h"

namespace corten::sys {

// As remove_tree_at in files.h. False: `stop` became true, and part of the tree is left.
Result<bool> remove_tree_until(int parent, const std::string& name, const std::atomic<bool>& stop);

}  // namespace corten::sys
