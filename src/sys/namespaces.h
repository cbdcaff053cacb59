// Namespaces by descriptor.
#pragma once

#include <sched.h>
#include <sys/types.h>

#include <cstdint>
#include <span>
#include <string_view>

#include "base/error.h"
#include "base/unique_fd.h"

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x00000080
#endif
#ifndef CLONE_NEWCGROUP
#define CLONE_NEWCGROUP 0x02000000
#endif

namespace corten::sys {

// "mnt", "pid", "net", "ipc", "uts", "user", "cgroup", "time": the names under /proc/PID/ns. Empty for an unknown flag.
std::string_view namespace_name(std::uint64_t clone_flag);
Result<UniqueFd> open_namespace(pid_t pid, std::uint64_t clone_flag);
Result<UniqueFd> open_own_namespace(std::uint64_t clone_flag);
// The namespaces `clone_flags` (several at once) of the process behind the pid descriptor.
Result<> join_namespaces_of(int pidfd, std::uint64_t clone_flags);
// One namespace; `clone_flag` checks its type.
Result<> join_namespace(int fd, std::uint64_t clone_flag);
// What kind an ns descriptor is (NS_GET_NSTYPE): a CLONE_NEW* flag.
Result<std::uint64_t> namespace_type(int fd);
// The user namespace that owns it (NS_GET_USERNS).
Result<UniqueFd> owning_user_namespace(int fd);

// A line of /proc/PID/uid_map: `size` ids from `inside` on are those from `outside` on.
struct IdRange {
  std::uint32_t inside = 0;
  std::uint32_t outside = 0;
  std::uint32_t size = 0;
};
// Writes the maps of a process that has just got its own user namespace.
Result<> write_id_maps(pid_t pid, std::span<const IdRange> uids, std::span<const IdRange> gids);
// A user namespace that nobody is in, for idmapped mounts or to be joined. Safe in threaded programs.
Result<UniqueFd> make_user_namespace(std::span<const IdRange> uids, std::span<const IdRange> gids);

}  // namespace corten::sys
