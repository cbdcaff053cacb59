#include "http/relay.h"

#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <system_error>
#include <thread>

namespace corten::http {
namespace {

constexpr std::size_t buffer_size = 16 << 10;  // one TLS record

// Bytes on their way in one direction.
class Pipe {
 public:
  bool wants_input() const { return !ended_ && filled_ == 0; }
  bool holds_bytes() const { return sent_ < filled_; }
  bool finished() const { return ended_ && closed_; }
  // The source has ended and all its bytes are out, but the sink has not been told.
  bool must_close() const { return ended_ && !holds_bytes() && !closed_; }
  void closed() { closed_ = true; }

  std::span<char> room() { return buffer_; }
  void received(std::size_t count) {
    filled_ = count;
    sent_ = 0;
    ended_ = count == 0;
  }
  std::string_view pending() const { return {buffer_.data() + sent_, filled_ - sent_}; }
  void sent(std::size_t count) {
    sent_ += count;
    if (sent_ == filled_) sent_ = filled_ = 0;
  }

 private:
  std::array<char, buffer_size> buffer_;
  std::size_t filled_ = 0;
  std::size_t sent_ = 0;
  bool ended_ = false;
  bool closed_ = false;
};

class Relay {
 public:
  Relay(TlsStream& remote, UniqueFd local) : remote_(remote), local_(std::move(local)) {}
  void run();

 private:
  // Each moves what can be moved and notes what to wait for. False: that side broke.
  bool pump_inwards();
  bool pump_outwards();

  TlsStream& remote_;
  UniqueFd local_;
  Pipe inwards_;   // remote to local
  Pipe outwards_;  // local to remote
  short remote_events_ = 0;
  short local_events_ = 0;
};

bool Relay::pump_inwards() {
  for (;;) {
    if (inwards_.wants_input()) {
      const auto attempt = remote_.try_read(inwards_.room());
      if (!attempt) return false;
      if (attempt->events != 0) {
        remote_events_ |= attempt->events;
        return true;
      }
      inwards_.received(attempt->count);
    }
    if (inwards_.holds_bytes()) {
      const auto bytes = inwards_.pending();
      const ssize_t count = ::send(local_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
      if (count < 0 && errno == EAGAIN) local_events_ |= POLLOUT;
      if (count < 0) return errno == EAGAIN || errno == EINTR;
      inwards_.sent(static_cast<std::size_t>(count));
      continue;
    }
    if (inwards_.must_close()) {
      ::shutdown(local_.get(), SHUT_WR);
      inwards_.closed();
    }
    return true;
  }
}

bool Relay::pump_outwards() {
  for (;;) {
    if (outwards_.wants_input()) {
      const ssize_t count = ::recv(local_.get(), outwards_.room().data(), outwards_.room().size(), MSG_DONTWAIT);
      if (count < 0 && errno == EAGAIN) local_events_ |= POLLIN;
      if (count < 0) return errno == EAGAIN || errno == EINTR;
      outwards_.received(static_cast<std::size_t>(count));
    }
    if (outwards_.holds_bytes()) {
      const auto attempt = remote_.try_write(outwards_.pending());
      if (!attempt) return false;
      if (attempt->events != 0) {
        remote_events_ |= attempt->events;
        return true;
      }
      outwards_.sent(attempt->count);
      continue;
    }
    if (outwards_.must_close()) {
      remote_.end_of_writing();
      ::shutdown(remote_.fd(), SHUT_WR);
      outwards_.closed();
    }
    return true;
  }
}

void Relay::run() {
  for (;;) {
    remote_events_ = local_events_ = 0;
    if (!pump_inwards() || !pump_outwards()) return;
    if (inwards_.finished() && outwards_.finished()) return;
    // poll() reports POLLHUP even where nothing is asked: a descriptor that has nothing to wait for is left out.
    std::array<pollfd, 2> entries{{{remote_events_ ? remote_.fd() : -1, remote_events_, 0},
                                   {local_events_ ? local_.get() : -1, local_events_, 0}}};
    if (::poll(entries.data(), entries.size(), -1) < 0 && errno != EINTR) return;
  }
}

}  // namespace

void relay(TlsStream& remote, UniqueFd local) { std::make_unique<Relay>(remote, std::move(local))->run(); }

Result<UniqueFd> relay_in_background(std::unique_ptr<TlsStream> remote) {
  std::array<int, 2> pair{};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair.data()) != 0) return sys_fail("make a socket pair");
  UniqueFd ours(pair[0]);
  UniqueFd theirs(pair[1]);
  try {
    std::thread([remote = std::move(remote), end = std::move(theirs)]() mutable {
      relay(*remote, std::move(end));
    }).detach();
  } catch (const std::system_error& error) {
    return fail(ErrorKind::exhausted, "start a thread: {}", error.what());
  }
  return ours;
}

}  // namespace corten::http
