// Whether a layer is what it would be made into again. Private to the drivers.
#pragma once

#include "base/error.h"

namespace corten::store {

// Byte for byte, from the disk where that can be had: what lies in memory may be better than what it came from. Takes
// regular files open for reading.
Result<bool> same_file(int one, int other);

// Two directories: names, types, modes, owners, times, attributes, contents. Not told apart: times of directories,
// access times, numbers of inodes, and which names are hard links of each other.
Result<bool> same_tree(int one, int other);

}  // namespace corten::store
