#include "shimproto/wire.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>

namespace corten::shimproto {
namespace {

constexpr std::uint32_t in_memfd = 1U << 31;

struct Header {
  std::uint32_t type;
  std::uint32_t id;
};

Result<UniqueFd> sealed_memfd(std::string_view body) {
  UniqueFd fd(::memfd_create("corten-message", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd) return sys_fail("create a memfd for a message");
  while (!body.empty()) {
    const ssize_t written = ::write(fd.get(), body.data(), body.size());
    if (written < 0) return sys_fail("write {} bytes to a memfd", body.size());
    body.remove_prefix(static_cast<std::size_t>(written));
  }
  if (::fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) != 0)
    return sys_fail("seal a memfd");
  return fd;
}

Result<std::string> read_memfd(int fd) {
  struct stat info{};
  if (::fstat(fd, &info) != 0) return sys_fail("stat a message's memfd");
  const int seals = ::fcntl(fd, F_GET_SEALS);
  if (seals < 0 || (seals & F_SEAL_SHRINK) == 0 || info.st_size < 0 ||
      static_cast<std::size_t>(info.st_size) > max_body)
    return fail(ErrorKind::invalid, "message body in a file that is not a sealed memfd of at most {} bytes", max_body);
  std::string body(static_cast<std::size_t>(info.st_size), '\0');
  std::size_t have = 0;
  while (have < body.size()) {
    const ssize_t got = ::pread(fd, body.data() + have, body.size() - have, static_cast<off_t>(have));
    if (got <= 0) return sys_fail("read a message's memfd");
    have += static_cast<std::size_t>(got);
  }
  return body;
}

Result<> wait_writable(int socket, Deadline deadline) {
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
  if (left.count() <= 0) return fail(ErrorKind::deadline, "the peer does not take messages");
  pollfd poll_fd{socket, POLLOUT, 0};
  if (::poll(&poll_fd, 1, static_cast<int>(left.count())) < 0 && errno != EINTR)
    return sys_fail("poll a message socket");
  return {};
}

}  // namespace

Result<> send_message(int socket, MessageType type, std::uint32_t id, std::string_view body, std::span<const int> fds,
                      std::optional<Deadline> deadline) {
  if (body.size() > max_body) return fail(ErrorKind::invalid, "message of {} bytes is too large", body.size());
  Header header{static_cast<std::uint32_t>(type), id};
  std::array<int, max_message_fds + 1> passed{};
  std::size_t count = 0;
  UniqueFd memfd;
  if (body.size() > max_inline_body) {
    memfd = TRY(sealed_memfd(body));
    header.type |= in_memfd;
    passed[count++] = memfd.get();
    body = {};
  }
  if (fds.size() > max_message_fds) return fail(ErrorKind::invalid, "{} descriptors in one message", fds.size());
  for (const int fd : fds) passed[count++] = fd;

  std::array<iovec, 2> parts{{{&header, sizeof header}, {const_cast<char*>(body.data()), body.size()}}};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int) * (max_message_fds + 1))> control{};
  msghdr message{};
  message.msg_iov = parts.data();
  message.msg_iovlen = parts.size();
  if (count > 0) {
    message.msg_control = control.data();
    message.msg_controllen = CMSG_SPACE(sizeof(int) * count);
    cmsghdr* rights = CMSG_FIRSTHDR(&message);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sizeof(int) * count);
    std::memcpy(CMSG_DATA(rights), passed.data(), sizeof(int) * count);
  }
  for (;;) {
    if (::sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0) return {};
    if (errno == EINTR) continue;
    if (errno == EPIPE || errno == ECONNRESET || errno == ENOTCONN)
      return fail(ErrorKind::unavailable, "the peer has closed the message socket");
    if (errno != EAGAIN && errno != ENOBUFS) return sys_fail("send a message of {} bytes", body.size());
    if (!deadline) return fail(ErrorKind::exhausted, "no room in the message socket");
    CHECK(wait_writable(socket, *deadline));
  }
}

Result<std::optional<Message>> receive_message(int socket) {
  Header header{};
  // The length first: a shim must not keep a buffer for the largest message.
  ssize_t length = 0;
  do {
    length = ::recv(socket, nullptr, 0, MSG_PEEK | MSG_TRUNC | MSG_DONTWAIT);
  } while (length < 0 && errno == EINTR);
  // Not on to recvmsg: a message that arrives just now would find no room there and be lost.
  if (length < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return std::nullopt;
  std::string buffer(length > 0 ? std::min<std::size_t>(static_cast<std::size_t>(length), max_inline_body) : 0, '\0');
  std::array<iovec, 2> parts{{{&header, sizeof header}, {buffer.data(), buffer.size()}}};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int) * (max_message_fds + 1))> control;
  msghdr incoming{};
  incoming.msg_iov = parts.data();
  incoming.msg_iovlen = parts.size();
  incoming.msg_control = control.data();
  incoming.msg_controllen = control.size();
  ssize_t got = 0;
  do {
    got = ::recvmsg(socket, &incoming, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
  } while (got < 0 && errno == EINTR);
  if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return std::nullopt;
  if (got == 0 || (got < 0 && errno == ECONNRESET))
    return fail(ErrorKind::unavailable, "the peer has closed the message socket");
  if (got < 0) return sys_fail("receive a message");

  Message message;
  for (cmsghdr* part = CMSG_FIRSTHDR(&incoming); part != nullptr; part = CMSG_NXTHDR(&incoming, part)) {
    if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(part) + i * sizeof(int), sizeof fd);
      message.fds.emplace_back(fd);
    }
  }
  if ((incoming.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0 || static_cast<std::size_t>(got) < sizeof header)
    return fail(ErrorKind::invalid, "truncated message");
  message.id = header.id;
  message.type = static_cast<MessageType>(header.type & ~in_memfd);
  if ((header.type & in_memfd) != 0) {
    if (message.fds.empty()) return fail(ErrorKind::invalid, "message without its memfd");
    message.body = TRY(read_memfd(message.fds.front().get()));
    message.fds.erase(message.fds.begin());
  } else {
    buffer.resize(static_cast<std::size_t>(got) - sizeof header);
    message.body = std::move(buffer);
  }
  return message;
}

}  // namespace corten::shimproto
