// Unix sockets that carry messages with descriptors.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/unique_fd.h"

namespace corten::sys {

// The kernel's limit on descriptors in one message (SCM_MAX_FD).
inline constexpr std::size_t max_message_fds = 253;

// SOCK_SEQPACKET, close-on-exec: one send is one receive, and the end of a peer is seen at once.
Result<std::pair<UniqueFd, UniqueFd>> socket_pair();
// SOCK_STREAM, close-on-exec.
Result<std::pair<UniqueFd, UniqueFd>> stream_pair();

struct Message {
  std::vector<std::byte> bytes;
  std::vector<UniqueFd> fds;
  bool end = false;  // the peer has closed
};
// One message. `unavailable` with EAGAIN on a non-blocking socket that is full; EPIPE when the peer is gone (no
// SIGPIPE).
Result<> send_message(int socket, std::span<const std::byte> bytes, std::span<const int> fds = {});
// At most `max_bytes` and `max_fds`; a longer message, or descriptors cut off, are `invalid` and what came is closed.
Result<Message> receive_message(int socket, std::size_t max_bytes, std::size_t max_fds = 0);

// A large block over a stream socket: 8-byte length, then bytes; descriptors ride on the first byte. Blocking.
Result<> send_block(int socket, std::span<const std::byte> bytes, std::span<const int> fds = {});
Result<Message> receive_block(int socket, std::size_t max_bytes, std::size_t max_fds = 0);

// Listening SOCK_SEQPACKET or SOCK_STREAM socket at a path of any length (through a directory descriptor when longer
// than sun_path). A left-over socket file is replaced. Mode 0600.
enum class SocketType : std::uint8_t { stream, seqpacket };
Result<UniqueFd> listen_unix(const std::string& path, SocketType type, int backlog = 128);
Result<UniqueFd> connect_unix(const std::string& path, SocketType type);

struct PeerCredentials {
  int pid = 0;
  unsigned uid = 0;
  unsigned gid = 0;
};
Result<PeerCredentials> peer_credentials(int socket);

}  // namespace corten::sys
