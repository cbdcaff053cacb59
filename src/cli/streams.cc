#include "cli/streams.h"

#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

namespace corten::cli {
namespace {

constexpr std::size_t read_size = 64 << 10;

}  // namespace

Result<StreamSession> StreamSession::prepare(Context& context, StreamOptions options) {
  // A reader of our output that goes away is an error of a write, not our death: the terminal may be in raw mode.
  ::signal(SIGPIPE, SIG_IGN);
  StreamSession session(context, std::move(options));
  auto& chosen = session.options_;
  if (chosen.tty && chosen.attach_stdin && is_terminal(context.in())) {
    std::string keys = chosen.detach_keys.empty() ? context.configured("detachKeys") : chosen.detach_keys;
    if (keys.empty()) keys = "ctrl-p,ctrl-q";
    auto bytes = parse_detach_keys(keys);
    session.detach_ = DetachFilter(bytes ? *bytes : std::string("\x10\x11"));
    session.raw_.emplace(TRY(RawMode::enter(context.in())));
  }
  std::vector<int> watched;
  if (chosen.on_signal) watched = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGALRM, SIGTSTP, SIGCONT};
  if (chosen.on_resize) watched.push_back(SIGWINCH);
  if (!watched.empty()) session.signals_.emplace(TRY(SignalWatch::create(watched)));
  session.typing_ = chosen.attach_stdin;
  return session;
}

void StreamSession::handle_signals() {
  while (auto signal = signals_->next()) {
    if (*signal == SIGWINCH) {
      if (const auto size = window_size(context_->out()); size && options_.on_resize) options_.on_resize(*size);
    } else if (options_.on_signal) {
      options_.on_signal(*signal);
    }
  }
}

// True when the user asked to detach.
Result<bool> StreamSession::read_typed() {
  char chunk[read_size / 2];
  const ssize_t count = ::read(context_->in(), chunk, sizeof chunk);
  if (count < 0 && (errno == EINTR || errno == EAGAIN)) return false;
  // EIO: our terminal went away, or we are in the background.
  if (count <= 0) {
    typing_ = false;
    return false;
  }
  const std::string_view typed(chunk, static_cast<std::size_t>(count));
  if (raw_) return detach_.feed(typed, pending_);
  pending_ += typed;
  return false;
}

void StreamSession::send_pending() {
  while (!pending_.empty() && sending_) {
    const ssize_t sent = ::send(socket_, pending_.data(), pending_.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent >= 0) {
      pending_.erase(0, static_cast<std::size_t>(sent));
    } else if (errno == EAGAIN) {
      return;
    } else if (errno != EINTR) {
      // The container reads no more; its output may still come.
      sending_ = typing_ = false;
      pending_.clear();
    }
  }
  if (!typing_ && sending_ && options_.attach_stdin) {
    ::shutdown(socket_, SHUT_WR);
    sending_ = false;
  }
}

Result<StreamEnd> StreamSession::loop(int socket, const http::ClientResponse* until) {
  bool open = socket >= 0;
  bool answered = until == nullptr;
  std::string buffer(read_size, '\0');
  while (open || !answered) {
    if (!answered && until->has_buffered()) answered = true;
    if (!open && answered) break;
    const bool read_stdin = open && typing_ && pending_.empty();
    pollfd wait[4] = {
        {open ? socket : -1, static_cast<short>(POLLIN | (pending_.empty() ? 0 : POLLOUT)), 0},
        {read_stdin ? context_->in() : -1, POLLIN, 0},
        {signals_ ? signals_->fd() : -1, POLLIN, 0},
        {answered ? -1 : until->fd(), POLLIN, 0},
    };
    if (::poll(wait, 4, -1) < 0) {
      if (errno == EINTR) continue;
      return sys_fail("poll");
    }
    if (wait[2].revents != 0) handle_signals();
    if (wait[3].revents != 0) answered = true;
    if (wait[1].revents != 0) {
      if (TRY(read_typed())) {
        send_pending();
        return StreamEnd::detached;
      }
      send_pending();
    }
    if ((wait[0].revents & POLLOUT) != 0) send_pending();
    if ((wait[0].revents & (POLLIN | POLLHUP | POLLERR)) != 0) {
      const ssize_t count = ::recv(socket, buffer.data(), buffer.size(), MSG_DONTWAIT);
      if (count > 0) {
        CHECK(frames_.feed(std::string_view(buffer).substr(0, static_cast<std::size_t>(count))));
      } else if (count == 0 || (errno != EAGAIN && errno != EINTR)) {
        open = false;
      }
    }
  }
  return StreamEnd::closed;
}

Result<StreamEnd> StreamSession::run(client::Client::Stream& stream, const http::ClientResponse* until) {
  CHECK(context_->flush());
  socket_ = stream.connection.fd.get();
  if (!stream.connection.already_read.empty()) CHECK(frames_.feed(std::exchange(stream.connection.already_read, {})));
  if (options_.on_resize) {
    if (const auto size = window_size(context_->out())) options_.on_resize(*size);
  }
  return loop(socket_, until);
}

Result<> StreamSession::wait_for(const http::ClientResponse& answer) {
  TRY(loop(-1, &answer));
  return {};
}

}  // namespace corten::cli
