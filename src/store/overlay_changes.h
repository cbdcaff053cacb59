// What a writable layer changed. Private to the driver.
#pragma once

#include <vector>

#include "base/error.h"
#include "store/snapshots.h"

namespace corten::store {

// `upper` is the writable layer's own directory, `parent` a view of everything below it. The rules are Docker's: an
// entry is modified when type, mode, owner, device, capabilities or (no directory) size or time differ; a directory
// with changes inside is modified; what was below a removed or replaced directory is not listed.
Result<std::vector<Change>> overlay_changes(int upper, int parent);

}  // namespace corten::store
