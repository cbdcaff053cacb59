// Copies a directory's content, metadata included, between two directory descriptors.
#pragma once

#include "base/error.h"

namespace corten::sys {

// Everything in `from` into `to`, which exists: files (by copy_file_range, which shares blocks where the file system
// can), directories, symbolic links, devices, FIFOs and sockets, with owner, mode, times and extended attributes; hard
// links among what is copied stay hard links. `to` itself gets the owner, mode and attributes of `from`. Nothing is
// followed: both trees may be somebody else's. Stops at the first error and leaves what it has.
Result<> copy_tree(int from, int to);

}  // namespace corten::sys
