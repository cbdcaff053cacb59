// /dev/shm of another container, for --ipc container:NAME.
#pragma once

#include <sys/types.h>

#include "base/error.h"
#include "base/unique_fd.h"

namespace corten::engine {

// A detached mount of the /dev/shm that the process sees. The kernel only copies mounts of one's own mount namespace,
// so a thread of its own goes there for the moment; links on the way (they would be the container's) are refused.
Result<UniqueFd> clone_shared_memory(pid_t pid);

}  // namespace corten::engine
