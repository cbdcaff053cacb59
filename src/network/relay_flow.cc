#include "network/relay_flow.h"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <cerrno>

namespace corten::network {
namespace {

// What may wait for a slow reader; beyond it the other end is not read.
constexpr std::size_t max_waiting = 256 * 1024;

bool would_block() { return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR; }

}  // namespace

RelayFlow::RelayFlow(UniqueFd client_fd, UniqueFd container_fd) {
  ends_[client].fd = std::move(client_fd);
  ends_[client].connected = true;
  ends_[container].fd = std::move(container_fd);
}

std::uint32_t RelayFlow::interest(Side side) const {
  const End& end = ends_[side];
  const End& other = ends_[1 - side];
  std::uint32_t events = 0;
  if (!end.connected || !end.out.empty()) events |= EPOLLOUT;
  if (end.connected && other.connected && !end.read_closed && other.out.size() < max_waiting) events |= EPOLLIN;
  return events;
}

bool RelayFlow::finish_connect(End& end) {
  int error = 0;
  socklen_t size = sizeof error;
  if (::getsockopt(end.fd.get(), SOL_SOCKET, SO_ERROR, &error, &size) != 0 || error != 0) {
    // The client shall see a reset, which is what it would have got without us in between.
    const linger reset{.l_onoff = 1, .l_linger = 0};
    ::setsockopt(ends_[client].fd.get(), SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    return false;
  }
  end.connected = true;
  return true;
}

bool RelayFlow::flush(End& end) {
  std::size_t done = 0;
  while (done < end.out.size()) {
    const ssize_t sent = ::send(end.fd.get(), end.out.data() + done, end.out.size() - done, MSG_NOSIGNAL);
    if (sent < 0 && !would_block()) return false;
    if (sent <= 0) break;
    done += static_cast<std::size_t>(sent);
  }
  end.out.erase(0, done);
  return true;
}

bool RelayFlow::read_some(End& from, End& to, std::span<char> scratch) {
  const ssize_t got = ::recv(from.fd.get(), scratch.data(), scratch.size(), 0);
  if (got < 0) return would_block();
  if (got == 0) {
    from.read_closed = true;
    return true;
  }
  to.out.append(scratch.data(), static_cast<std::size_t>(got));
  return flush(to);
}

void RelayFlow::pass_on_close(End& from, End& to) {
  if (!from.read_closed || to.write_closed || !to.out.empty()) return;
  ::shutdown(to.fd.get(), SHUT_WR);
  to.write_closed = true;
}

bool RelayFlow::handle(Side side, std::uint32_t events, std::span<char> scratch) {
  End& end = ends_[side];
  End& other = ends_[1 - side];
  if (!end.connected) {
    if ((events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) != 0 && !finish_connect(end)) return false;
    return true;
  }
  if ((events & EPOLLERR) != 0) return false;
  if ((events & EPOLLOUT) != 0 && !flush(end)) return false;
  if ((events & (EPOLLIN | EPOLLHUP)) != 0 && other.connected && !end.read_closed && other.out.size() < max_waiting &&
      !read_some(end, other, scratch))
    return false;
  pass_on_close(end, other);
  pass_on_close(other, end);
  return !(end.write_closed && other.write_closed);
}

}  // namespace corten::network
