#include "shim/client.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>

namespace corten::shim {
namespace {

using shimproto::AttachEnd;

constexpr std::size_t input_chunk = 16U << 10;
// After the last byte: how long the peer may take to close, so that closing first does not cost it unread data.
constexpr std::chrono::milliseconds linger_time{1000};
// A reader of a finished process that takes nothing for so long is given up.
constexpr std::chrono::minutes stall_time{10};

std::array<char, 8> frame_head(Stream stream, std::size_t size) {
  return {static_cast<char>(stream),
          0,
          0,
          0,
          static_cast<char>(size >> 24U),
          static_cast<char>(size >> 16U),
          static_cast<char>(size >> 8U),
          static_cast<char>(size)};
}

}  // namespace

Client::Client(Loop& loop, ClientOwner& owner, std::uint64_t id, shimproto::AttachSpec spec, UniqueFd fd, Outbox outbox)
    : loop_(loop),
      owner_(owner),
      id_(id),
      spec_(std::move(spec)),
      fd_(std::move(fd)),
      outbox_(std::move(outbox)),
      scanner_(spec_.detach_keys),
      paused_(spec_.paused),
      reading_(spec_.want_stdin) {}

Client::~Client() {
  if (timer_ != 0) loop_.cancel(timer_);
  loop_.unwatch(fd_.get());
}

Result<> Client::start() {
  struct stat info{};
  if (::fstat(fd_.get(), &info) != 0) return sys_fail("stat an attached client's descriptor");
  socket_ = S_ISSOCK(info.st_mode);
  pollable_ = !S_ISREG(info.st_mode);
  // A socket is left as it is: its flags are shared with the daemon's copy, so MSG_DONTWAIT serves instead.
  if (!socket_ && pollable_) {
    const int flags = ::fcntl(fd_.get(), F_GETFL);
    if (flags < 0 || ::fcntl(fd_.get(), F_SETFL, flags | O_NONBLOCK) != 0)
      return sys_fail("make a client's pipe non-blocking");
  }
  if (!spec_.already_read.empty() && spec_.want_stdin) take_input(spec_.already_read);
  if (!closed_) update_watch();
  return {};
}

void Client::update_watch() {
  if (!pollable_) return;
  std::uint32_t events = 0;
  if (!closed_ && reading_ && !input_full_) events |= EPOLLIN;
  if (closed_) events |= EPOLLIN | EPOLLRDHUP;
  if (!closed_ && !paused_ && !outbox_.empty()) events |= EPOLLOUT;
  if (auto watched = loop_.watch(fd_.get(), events, *this); !watched) pollable_ = false;
}

ssize_t Client::send_now(std::string_view head, std::string_view bytes) {
  std::array<iovec, 2> parts{
      {{const_cast<char*>(head.data()), head.size()}, {const_cast<char*>(bytes.data()), bytes.size()}}};
  for (;;) {
    ssize_t sent = 0;
    if (socket_) {
      msghdr message{};
      message.msg_iov = parts.data();
      message.msg_iovlen = parts.size();
      sent = ::sendmsg(fd_.get(), &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    } else {
      sent = ::writev(fd_.get(), parts.data(), parts.size());
    }
    if (sent >= 0) return sent;
    if (errno == EINTR) continue;
    return errno == EAGAIN || errno == EWOULDBLOCK ? 0 : -1;
  }
}

void Client::deliver(Stream stream, std::string_view bytes) {
  if (closed_ || !(stream == Stream::out ? spec_.want_stdout : spec_.want_stderr)) return;
  std::array<char, 8> frame{};
  std::string_view head;
  if (spec_.multiplexed) {
    frame = frame_head(stream, bytes.size());
    head = {frame.data(), frame.size()};
  }
  if (paused_ || !outbox_.empty()) return keep(head, bytes, 0);
  const ssize_t sent = send_now(head, bytes);
  if (sent < 0) return close(AttachEnd::client_gone);
  if (static_cast<std::size_t>(sent) < head.size() + bytes.size()) keep(head, bytes, static_cast<std::size_t>(sent));
}

void Client::keep(std::string_view head, std::string_view bytes, std::size_t sent) {
  const std::size_t head_sent = std::min(sent, head.size());
  head.remove_prefix(head_sent);
  bytes.remove_prefix(sent - head_sent);
  // Both or neither would be better than a head without its bytes, but after a failure the client is cut off anyway.
  if (!outbox_.append(head) || !outbox_.append(bytes)) return close(AttachEnd::too_slow);
  update_watch();
}

void Client::send_waiting() {
  // A few pieces at a time: the other readers have their turn in between.
  for (int round = 0; round < 4 && !paused_ && !outbox_.empty(); ++round) {
    const auto piece = outbox_.front();
    if (!piece) return close(AttachEnd::too_slow);
    const ssize_t sent = send_now({}, *piece);
    if (sent < 0) return close(AttachEnd::client_gone);
    if (sent == 0) break;
    const bool all = static_cast<std::size_t>(sent) == piece->size();
    outbox_.drop(static_cast<std::size_t>(sent));
    if (!all) break;
  }
  if (finishing_) {
    if (outbox_.empty() && !paused_) return close(AttachEnd::stream_end);
    if (timer_ != 0) loop_.cancel(timer_);
    timer_ = loop_.after(stall_time, [this] {
      timer_ = 0;
      close(AttachEnd::too_slow);
    });
  }
  update_watch();
}

void Client::finish() {
  if (closed_) return;
  finishing_ = true;
  reading_ = false;
  send_waiting();
}

void Client::resume() {
  if (closed_ || !paused_) return;
  paused_ = false;
  send_waiting();
}

void Client::resume_input() {
  if (closed_ || !input_full_) return;
  input_full_ = false;
  if (!held_input_.empty()) take_input(std::exchange(held_input_, {}));
  if (!closed_) update_watch();
}

void Client::take_input(std::string_view bytes) {
  std::string passed;
  const bool detached = scanner_.feed(bytes, passed);
  std::string_view rest = passed;
  const std::size_t room = owner_.input_room();
  if (room > 0) owner_.input(rest.substr(0, room));
  if (rest.size() > room) {
    // Only bytes from before the head start, read in one go, can be more than the room.
    held_input_ = rest.substr(room);
    input_full_ = true;
  }
  if (detached) close(AttachEnd::detached);
}

void Client::read_input() {
  const std::size_t room = std::min(owner_.input_room(), input_chunk);
  if (room == 0) {
    input_full_ = true;
    return update_watch();
  }
  std::array<char, input_chunk> buffer;  // NOLINT: filled by read
  const ssize_t got =
      socket_ ? ::recv(fd_.get(), buffer.data(), room, MSG_DONTWAIT) : ::read(fd_.get(), buffer.data(), room);
  if (got > 0) {
    take_input({buffer.data(), static_cast<std::size_t>(got)});
    return;
  }
  if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) return;
  reading_ = false;
  // Torn or closed, the client's side of standard input has ended.
  const bool goes_on = owner_.input_ended();
  if (got < 0) return close(AttachEnd::client_gone);
  if (!goes_on) return finish();
  update_watch();
}

void Client::on_ready(std::uint32_t events) {
  if (closed_) return linger();
  if ((events & EPOLLIN) != 0 && reading_ && !input_full_) read_input();
  if (!closed_ && (events & EPOLLOUT) != 0) send_waiting();
  if (!closed_ && (events & (EPOLLHUP | EPOLLERR)) != 0 && (events & EPOLLIN) == 0) {
    if (reading_ && !input_full_) read_input();  // its last words, or the end that also ends the process's stdin
    if (!closed_) close(AttachEnd::client_gone);
  }
}

void Client::close(AttachEnd end) {
  if (closed_) return;
  closed_ = true;
  if (timer_ != 0) loop_.cancel(std::exchange(timer_, 0));
  owner_.client_closed(*this, end);
  const bool deliver_rest = end == AttachEnd::stream_end || end == AttachEnd::detached;
  if (socket_ && pollable_ && deliver_rest && ::shutdown(fd_.get(), SHUT_WR) == 0) {
    timer_ = loop_.after(linger_time, [this] {
      timer_ = 0;
      owner_.client_gone(*this);
    });
    return update_watch();
  }
  if (socket_) ::shutdown(fd_.get(), SHUT_RDWR);
  loop_.unwatch(fd_.get());
  loop_.defer([this] { owner_.client_gone(*this); });
}

void Client::linger() {
  std::array<char, 1024> buffer;  // NOLINT: thrown away
  for (int round = 0; round < 64; ++round) {
    const ssize_t got = ::recv(fd_.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (got > 0) continue;
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    break;
  }
  if (timer_ != 0) loop_.cancel(std::exchange(timer_, 0));
  ::shutdown(fd_.get(), SHUT_RDWR);
  loop_.unwatch(fd_.get());
  loop_.defer([this] { owner_.client_gone(*this); });
}

}  // namespace corten::shim
