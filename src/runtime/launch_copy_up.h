// Private to runtime/launch*.
#pragma once

#include "base/error.h"

namespace corten::runtime {

// Copies what is in the directory `from` (an O_PATH descriptor inside the container's root) into the empty file system
// `to`: files, directories, links, modes, owners, times. Device nodes, FIFOs and sockets are left out. Nothing outside
// `from` is read: no link is followed. At most 1 GiB and 100,000 entries.
Result<> copy_up(int from, int to);

}  // namespace corten::runtime
