#include "ociruntime/console.h"

#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <optional>
#include <span>

#include "sys/events.h"
#include "sys/files.h"
#include "sys/pty.h"
#include "sys/unix_socket.h"

namespace corten::ociruntime {

namespace {

// Our own terminal in raw mode for the life of this object.
class RawMode {
 public:
  explicit RawMode(int tty) : tty_(tty) {
    if (::tcgetattr(tty, &saved_) != 0) return;
    termios raw = saved_;
    ::cfmakeraw(&raw);
    active_ = ::tcsetattr(tty, TCSANOW, &raw) == 0;
  }
  RawMode(const RawMode&) = delete;
  RawMode& operator=(const RawMode&) = delete;
  ~RawMode() {
    if (active_) ::tcsetattr(tty_, TCSADRAIN, &saved_);
  }

 private:
  int tty_;
  termios saved_{};
  bool active_ = false;
};

class Foreground {
 public:
  Foreground(sys::ChildProcess child, UniqueFd console) : child_(std::move(child)), console_(std::move(console)) {}

  Result<int> wait() {
    signals_ =
        TRY(sys::make_signalfd({SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH, SIGCONT, SIGTSTP}));
    std::optional<RawMode> raw;
    if (console_) {
      raw.emplace(STDIN_FILENO);
      copy_size();
    }
    while (!ended_) CHECK(step());
    drain_console();
    return TRY(child_.wait()).shell_code();
  }

 private:
  void copy_size() {
    if (const auto size = sys::window_size(STDIN_FILENO)) (void)sys::set_window_size(console_.get(), *size);
  }

  Result<> step() {
    std::array<pollfd, 4> waiting{{{child_.pidfd(), POLLIN, 0},
                                   {signals_.get(), POLLIN, 0},
                                   {console_ && output_open_ ? console_.get() : -1, POLLIN, 0},
                                   {console_ && input_open_ ? STDIN_FILENO : -1, POLLIN, 0}}};
    if (::poll(waiting.data(), waiting.size(), -1) < 0)
      return errno == EINTR ? Result<>{} : sys_fail("wait for the container");
    if (waiting[1].revents != 0) CHECK(pass_signals());
    if (waiting[2].revents != 0) output_open_ = copy(console_.get(), STDOUT_FILENO);
    if (waiting[3].revents != 0) input_open_ = copy(STDIN_FILENO, console_.get());
    if (waiting[0].revents != 0) ended_ = true;
    return {};
  }

  Result<> pass_signals() {
    while (const auto signal = TRY(sys::signalfd_read(signals_.get()))) {
      if (*signal == SIGWINCH && console_) {
        copy_size();
      } else {
        (void)sys::pidfd_send_signal(child_.pidfd(), *signal);  // it may have ended just now
      }
    }
    return {};
  }

  static bool copy(int from, int to) {
    std::array<char, 16384> block{};
    const ssize_t got = ::read(from, block.data(), block.size());
    if (got < 0) return errno == EINTR || errno == EAGAIN;
    return got > 0 && sys::write_all(to, {block.data(), static_cast<std::size_t>(got)}).has_value();
  }

  void drain_console() {
    if (!console_) return;
    for (;;) {
      pollfd waiting{console_.get(), POLLIN, 0};
      if (::poll(&waiting, 1, 0) <= 0 || (waiting.revents & POLLIN) == 0) return;
      if (!copy(console_.get(), STDOUT_FILENO)) return;
    }
  }

  sys::ChildProcess child_;
  UniqueFd console_;
  UniqueFd signals_;
  bool output_open_ = true;
  bool input_open_ = true;
  bool ended_ = false;
};

}  // namespace

Result<> send_console(const std::string& socket_path, int master) {
  const UniqueFd socket = TRY_AS(sys::connect_unix(socket_path, sys::SocketType::stream), "console socket");
  std::array<char, 64> name{};
  if (::ptsname_r(master, name.data(), name.size()) != 0) std::strcpy(name.data(), "/dev/ptmx");
  const int fds[] = {master};
  return wrap(sys::send_message(socket.get(), std::as_bytes(std::span(name.data(), std::strlen(name.data()))), fds),
              "console socket");
}

Result<int> wait_in_foreground(sys::ChildProcess child, UniqueFd console) {
  return Foreground(std::move(child), std::move(console)).wait();
}

}  // namespace corten::ociruntime
