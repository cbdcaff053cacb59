#include "sys/unix_socket.h"

#include <endian.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

namespace corten::sys {
namespace {

Result<std::pair<UniqueFd, UniqueFd>> make_pair_of(int type) {
  int ends[2];
  if (::socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, ends) != 0) return sys_fail("make a socket pair");
  return std::pair(UniqueFd(ends[0]), UniqueFd(ends[1]));
}

// Room for the control data of one message, aligned as the kernel wants it.
struct ControlBuffer {
  alignas(cmsghdr) char bytes[CMSG_SPACE(sizeof(int) * max_message_fds)];
};

void put_fds(msghdr& header, ControlBuffer& control, std::span<const int> fds) {
  if (fds.empty()) return;
  const std::size_t size = fds.size() * sizeof(int);
  std::memset(control.bytes, 0, CMSG_SPACE(size));
  header.msg_control = control.bytes;
  header.msg_controllen = CMSG_SPACE(size);
  cmsghdr* part = CMSG_FIRSTHDR(&header);
  part->cmsg_level = SOL_SOCKET;
  part->cmsg_type = SCM_RIGHTS;
  part->cmsg_len = CMSG_LEN(size);
  std::memcpy(CMSG_DATA(part), fds.data(), size);
}

void take_fds(msghdr& header, std::vector<UniqueFd>& out) {
  for (cmsghdr* part = CMSG_FIRSTHDR(&header); part != nullptr; part = CMSG_NXTHDR(&header, part)) {
    if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(part) + i * sizeof(int), sizeof fd);
      out.emplace_back(fd);
    }
  }
}

// One recvmsg into `bytes`; descriptors are appended to `fds`. 0 at the end.
Result<std::size_t> receive_part(int socket, std::span<std::byte> bytes, std::vector<UniqueFd>& fds, int& flags) {
  ControlBuffer control;
  iovec part{bytes.data(), bytes.size()};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = control.bytes;
  header.msg_controllen = sizeof control.bytes;
  ssize_t length = -1;
  do {
    length = ::recvmsg(socket, &header, MSG_CMSG_CLOEXEC);
  } while (length < 0 && errno == EINTR);
  if (length < 0) return sys_fail("receive a message");
  take_fds(header, fds);
  flags = header.msg_flags;
  return static_cast<std::size_t>(length);
}

struct Address {
  sockaddr_un address{};
  socklen_t length = 0;
  UniqueFd directory;  // keeps /proc/self/fd/N valid for a path that is longer than sun_path
};

Result<Address> make_address(const std::string& path) {
  Address result;
  std::string text = path;
  if (text.size() >= sizeof result.address.sun_path) {
    const auto slash = path.find_last_of('/');
    if (slash == std::string::npos) return fail(ErrorKind::invalid, "socket path {}: name too long", path);
    result.directory = UniqueFd(::open(path.substr(0, slash + 1).c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!result.directory) return sys_fail("open {}", path.substr(0, slash + 1));
    text = fmt::format("/proc/self/fd/{}/{}", result.directory.get(), path.substr(slash + 1));
    if (text.size() >= sizeof result.address.sun_path)
      return fail(ErrorKind::invalid, "socket path {}: name too long", path);
  }
  result.address.sun_family = AF_UNIX;
  std::memcpy(result.address.sun_path, text.c_str(), text.size() + 1);
  result.length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + text.size() + 1);
  return result;
}

int kernel_type(SocketType type) { return type == SocketType::stream ? SOCK_STREAM : SOCK_SEQPACKET; }

}  // namespace

Result<std::pair<UniqueFd, UniqueFd>> socket_pair() { return make_pair_of(SOCK_SEQPACKET); }
Result<std::pair<UniqueFd, UniqueFd>> stream_pair() { return make_pair_of(SOCK_STREAM); }

Result<> send_message(int socket, std::span<const std::byte> bytes, std::span<const int> fds) {
  if (fds.size() > max_message_fds)
    return fail(ErrorKind::invalid, "{} descriptors do not fit into one message", fds.size());
  ControlBuffer control;
  iovec part{const_cast<std::byte*>(bytes.data()), bytes.size()};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  put_fds(header, control, fds);
  ssize_t sent = -1;
  do {
    sent = ::sendmsg(socket, &header, MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR);
  if (sent < 0) {
    if (errno == EAGAIN || errno == EPIPE || errno == ECONNRESET)
      return std::unexpected(Error(ErrorKind::unavailable, "send a message: " + errno_text(errno), errno));
    return sys_fail("send a message of {} bytes", bytes.size());
  }
  if (static_cast<std::size_t>(sent) != bytes.size())
    return fail(ErrorKind::internal, "send a message: it was cut off");
  return {};
}

Result<Message> receive_message(int socket, std::size_t max_bytes, std::size_t max_fds) {
  Message message;
  message.bytes.resize(max_bytes);
  int flags = 0;
  const auto length = TRY(receive_part(socket, message.bytes, message.fds, flags));
  message.bytes.resize(length);
  message.end = length == 0 && message.fds.empty();
  if ((flags & MSG_TRUNC) != 0) return fail(ErrorKind::invalid, "received a message of more than {} bytes", max_bytes);
  if ((flags & MSG_CTRUNC) != 0 || message.fds.size() > max_fds)
    return fail(ErrorKind::invalid, "received more descriptors than {}", max_fds);
  return message;
}

Result<> send_block(int socket, std::span<const std::byte> bytes, std::span<const int> fds) {
  const std::uint64_t length = htole64(bytes.size());
  CHECK(send_message(socket, std::as_bytes(std::span(&length, 1)), fds));
  while (!bytes.empty()) {
    const ssize_t sent = ::send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0) return sys_fail("send a block of {} bytes", bytes.size());
    bytes = bytes.subspan(static_cast<std::size_t>(sent));
  }
  return {};
}

Result<Message> receive_block(int socket, std::size_t max_bytes, std::size_t max_fds) {
  Message message;
  std::uint64_t length = 0;
  const auto head = std::as_writable_bytes(std::span(&length, 1));
  for (std::size_t got = 0; got < head.size();) {
    int flags = 0;
    const auto part = TRY(receive_part(socket, head.subspan(got), message.fds, flags));
    if (part == 0 && got == 0) {
      message.end = true;
      return message;
    }
    if (part == 0) return fail(ErrorKind::invalid, "received a block that was cut off");
    if ((flags & MSG_CTRUNC) != 0 || message.fds.size() > max_fds)
      return fail(ErrorKind::invalid, "received more descriptors than {}", max_fds);
    got += part;
  }
  length = le64toh(length);
  if (length > max_bytes)
    return fail(ErrorKind::invalid, "received a block of {} bytes, at most {} are taken", length, max_bytes);
  message.bytes.resize(length);
  for (std::size_t got = 0; got < message.bytes.size();) {
    int flags = 0;
    std::vector<UniqueFd> unwanted;
    const auto part = TRY(receive_part(socket, std::span(message.bytes).subspan(got), unwanted, flags));
    if (part == 0 || !unwanted.empty()) return fail(ErrorKind::invalid, "received a block that was cut off");
    got += part;
  }
  return message;
}

Result<UniqueFd> listen_unix(const std::string& path, SocketType type, int backlog) {
  const auto target = TRY(make_address(path));
  UniqueFd socket(::socket(AF_UNIX, kernel_type(type) | SOCK_CLOEXEC, 0));
  if (!socket) return sys_fail("make a socket for {}", path);
  struct stat status{};
  if (::lstat(path.c_str(), &status) == 0 && S_ISSOCK(status.st_mode)) ::unlink(path.c_str());
  const auto* address = reinterpret_cast<const sockaddr*>(&target.address);
  // The mode is set on the socket before bind makes the file, so that nobody connects in between.
  if (::fchmod(socket.get(), 0600) != 0) return sys_fail("set the mode of {}", path);
  if (::bind(socket.get(), address, target.length) != 0) return sys_fail("bind {}", path);
  if (::listen(socket.get(), backlog) != 0) return sys_fail("listen on {}", path);
  return socket;
}

Result<UniqueFd> connect_unix(const std::string& path, SocketType type) {
  const auto target = TRY(make_address(path));
  UniqueFd socket(::socket(AF_UNIX, kernel_type(type) | SOCK_CLOEXEC, 0));
  if (!socket) return sys_fail("make a socket for {}", path);
  if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&target.address), target.length) != 0)
    return sys_fail("connect to {}", path);
  return socket;
}

Result<PeerCredentials> peer_credentials(int socket) {
  ucred credentials{};
  socklen_t length = sizeof credentials;
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &length) != 0)
    return sys_fail("ask for the peer's identity");
  return PeerCredentials{credentials.pid, credentials.uid, credentials.gid};
}

}  // namespace corten::sys
