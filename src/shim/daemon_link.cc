#include "shim/daemon_link.h"

#include <fcntl.h>
#include <sys/epoll.h>

namespace corten::shim {
namespace {

// A daemon that lets more than this pile up is not reading at all; it can reconnect and ask.
constexpr std::size_t max_waiting = 4096;

}  // namespace

Result<> DaemonLink::start() { return loop_.watch(socket_.get(), EPOLLIN, *this); }

void DaemonLink::send(shimproto::MessageType type, std::uint32_t id, std::string body, std::span<const int> fds) {
  if (closed_) return;
  if (waiting_.empty()) {
    const auto sent = shimproto::send_message(socket_.get(), type, id, body, fds, std::nullopt);
    if (sent) return;
    if (sent.error().kind() != ErrorKind::exhausted) return close();
  }
  if (waiting_.size() >= max_waiting) return close();
  Waiting message{type, id, std::move(body), {}};
  for (const int fd : fds) message.fds.emplace_back(::fcntl(fd, F_DUPFD_CLOEXEC, 3));
  waiting_.push_back(std::move(message));
  if (!loop_.watch(socket_.get(), EPOLLIN | EPOLLOUT, *this)) close();
}

void DaemonLink::send_waiting() {
  while (!waiting_.empty()) {
    const auto& message = waiting_.front();
    std::vector<int> fds;
    for (const auto& fd : message.fds) fds.push_back(fd.get());
    const auto sent = shimproto::send_message(socket_.get(), message.type, message.id, message.body, fds, std::nullopt);
    if (!sent && sent.error().kind() == ErrorKind::exhausted) return;
    if (!sent) return close();
    waiting_.pop_front();
  }
  if (!loop_.watch(socket_.get(), EPOLLIN, *this)) close();
}

void DaemonLink::on_ready(std::uint32_t events) {
  if ((events & EPOLLOUT) != 0) send_waiting();
  if (closed_ || (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) == 0) return;
  auto message = shimproto::receive_message(socket_.get());
  if (!message) return close();
  if (*message) calls_.message(*this, std::move(**message));
}

void DaemonLink::close() {
  if (closed_) return;
  closed_ = true;
  loop_.unwatch(socket_.get());
  calls_.closed(*this);
}

}  // namespace corten::shim
