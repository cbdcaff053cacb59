// Starting corten-shim programs.
#pragma once

#include <sys/types.h>

#include <string_view>
#include <utility>

#include "base/error.h"
#include "base/unique_fd.h"

namespace corten::shimproto {

// A shim that runs and waits for its start message; it ends by itself when `socket` closes before that.
struct SpawnedShim {
  pid_t pid = 0;
  UniqueFd pidfd;   // to be waited for (waitid P_PIDFD) by whoever owns this
  UniqueFd socket;  // SOCK_SEQPACKET
};

// fork+exec without copying the caller's page tables. The shim gets the socket as descriptor 3, /dev/null as 0 to 2,
// nothing else, a session of its own and default signals. `title` begins its second
// argument.
Result<SpawnedShim> spawn_shim(const std::string& shim_path, std::string_view title = {});

// Ours and the shim's.
Result<std::pair<UniqueFd, UniqueFd>> make_shim_sockets();

// Collects the shim's exit status if it has ended; true if so. Never waits.
bool reap_shim(int pidfd);

}  // namespace corten::shimproto
