// What parent and child say to each other between clone and exec, over a SOCK_SEQPACKET pair. Private to
// runtime/launch*.
//
//   parent (shim, corten-runtime)            child (the container's first process)
//     |  clone3 ------------------------------->|  cgroup, own session
//     |  uid_map, gid_map, oom_score_adj        |
//     |  proceed {host pid} ------------------->|  (only with a new user namespace or hooks)
//     |                                         |  mounts, devices
//     |<------------------------ hooks_due      |  (only if the caller has before_pivot hooks)
//     |  proceed ------------------------------>|  pivot_root, masks, identity
//     |<------------------------ warning {text} |  any number
//     |<------------------------ console [fd]   |  (only with a terminal)
//     |<------------------------ prepared       |  all but exec is done
//     |  release ------------------------------>|  may be sent early; on the start_listener's connection if there is
//     one
//     |<------------------------ listener [fd]  |  (only if the seccomp filter has one)
//     |                                         |  execve
//     |<-- end of file: the program runs        |
//
//   At any time: failed {kind, errno, text} from the child, which then ends. End of file from the parent: the child
//   ends.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/unique_fd.h"

namespace corten::runtime {

enum class MessageType : std::uint8_t { proceed = 1, release, hooks_due, warning, console, prepared, listener, failed };

struct LaunchMessage {
  MessageType type{};
  ErrorKind kind{};         // failed
  std::int32_t number = 0;  // failed: errno; proceed: the child's pid as the parent sees it
  std::string text;         // failed, warning
  UniqueFd fd;              // console, listener
  bool end = false;         // the peer has closed
};

// Text beyond 4000 bytes is cut.
Result<> send(int socket, MessageType type, std::int32_t number = 0, std::string_view text = {}, int fd = -1,
              ErrorKind kind = ErrorKind::internal);
Result<> send_failed(int socket, const Error& error);
// Blocks. Anything that is not one of our messages is `invalid`.
Result<LaunchMessage> receive(int socket);
// The error that a failed message carries.
Error error_of(LaunchMessage&& message);

}  // namespace corten::runtime
