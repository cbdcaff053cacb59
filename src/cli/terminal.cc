#include "cli/terminal.h"

#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <array>
#include <cerrno>

namespace corten::cli {

bool is_terminal(int fd) { return ::isatty(fd) == 1; }

std::optional<WindowSize> window_size(int fd) {
  winsize size{};
  if (::ioctl(fd, TIOCGWINSZ, &size) != 0) return std::nullopt;
  return WindowSize{size.ws_row, size.ws_col};
}

std::size_t help_columns(int fd) {
  const auto size = window_size(fd);
  return (size && size->columns > 0 ? size->columns : 80) - 1;
}

Result<RawMode> RawMode::enter(int fd) {
  termios saved{};
  if (::tcgetattr(fd, &saved) != 0) return sys_fail("read the terminal's settings");
  termios raw = saved;
  ::cfmakeraw(&raw);
  raw.c_cc[VMIN] = 1;
  raw.c_cc[VTIME] = 0;
  if (::tcsetattr(fd, TCSANOW, &raw) != 0) return sys_fail("set the terminal to raw mode");
  return RawMode(fd, saved);
}

RawMode::RawMode(RawMode&& other) noexcept : fd_(std::exchange(other.fd_, -1)), saved_(other.saved_) {}
RawMode::~RawMode() { restore(); }
void RawMode::restore() {
  if (fd_ >= 0) ::tcsetattr(std::exchange(fd_, -1), TCSANOW, &saved_);
}

Result<SignalWatch> SignalWatch::create(std::span<const int> signals) {
  sigset_t set;
  sigset_t previous;
  sigemptyset(&set);
  for (const int number : signals) sigaddset(&set, number);
  if (::pthread_sigmask(SIG_BLOCK, &set, &previous) != 0) return sys_fail("block signals");
  UniqueFd fd(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!fd) return sys_fail("watch for signals");
  return SignalWatch(std::move(fd), previous);
}

SignalWatch::SignalWatch(SignalWatch&& other) noexcept : fd_(std::move(other.fd_)), previous_(other.previous_) {}
SignalWatch::~SignalWatch() {
  if (fd_) ::pthread_sigmask(SIG_SETMASK, &previous_, nullptr);
}

std::optional<int> SignalWatch::next() {
  signalfd_siginfo info{};
  if (::read(fd_.get(), &info, sizeof info) != static_cast<ssize_t>(sizeof info)) return std::nullopt;
  return static_cast<int>(info.ssi_signo);
}

namespace {

// A terminal that shows nothing of what is typed.
class [[nodiscard]] EchoOff {
 public:
  explicit EchoOff(int fd) : fd_(fd) {
    if (fd < 0 || ::tcgetattr(fd, &saved_) != 0) return;
    termios quiet = saved_;
    quiet.c_lflag &= ~static_cast<tcflag_t>(ECHO);
    off_ = ::tcsetattr(fd, TCSANOW, &quiet) == 0;
  }
  EchoOff(const EchoOff&) = delete;
  EchoOff& operator=(const EchoOff&) = delete;
  ~EchoOff() {
    if (off_) ::tcsetattr(fd_, TCSANOW, &saved_);
  }
  bool off() const { return off_; }

 private:
  int fd_;
  bool off_ = false;
  termios saved_{};
};

constexpr std::size_t longest_typed_line = 64 << 10;

}  // namespace

Result<std::string> read_typed_line(int fd, int out, std::string_view question, bool echo) {
  SignalWatch signals = TRY(SignalWatch::create(std::array{SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP}));
  const EchoOff quiet(echo ? -1 : fd);
  if (!echo && !quiet.off()) return fail(ErrorKind::invalid, "cannot turn the terminal's echo off");
  CHECK(write_all(out, question));
  std::string line;
  pollfd waiting[2]{{fd, POLLIN, 0}, {signals.fd(), POLLIN, 0}};
  while (line.size() < longest_typed_line) {
    if (::poll(waiting, 2, -1) < 0 && errno != EINTR) return sys_fail("wait for the terminal");
    if (waiting[1].revents != 0 && signals.next()) return fail(ErrorKind::invalid, "prompt terminated");
    if (waiting[0].revents == 0) continue;
    char c = 0;
    const ssize_t count = ::read(fd, &c, 1);
    if (count < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (count < 0) return sys_fail("read from the terminal");
    if (count == 0 || c == '\n') return line;
    line += c;
  }
  return fail(ErrorKind::invalid, "the line typed is too long");
}

Result<std::string> parse_detach_keys(std::string_view text) {
  std::string keys;
  while (true) {
    const auto comma = text.find(',');
    const std::string_view key = text.substr(0, comma);
    if (key.size() == 1) {
      keys += key[0];
    } else if (key.size() == 6 && key.starts_with("ctrl-")) {
      const char c = key[5];
      if (c >= 'a' && c <= 'z') {
        keys += static_cast<char>(c - 'a' + 1);
      } else if (const auto at = std::string_view("@[\\]^_").find(c); at != std::string_view::npos) {
        static constexpr std::string_view codes("\0\x1b\x1c\x1d\x1e\x1f", 6);
        keys += codes[at];
      } else {
        return fail(ErrorKind::invalid, "Unknown character: '{}'", key);
      }
    } else {
      return fail(ErrorKind::invalid, "Unknown character: '{}'", key);
    }
    if (comma == std::string_view::npos) return keys;
    text.remove_prefix(comma + 1);
  }
}

bool DetachFilter::feed(std::string_view typed, std::string& out) {
  for (const char c : typed) {
    if (!keys_.empty() && c == keys_[matched_]) {
      if (++matched_ == keys_.size()) {
        matched_ = 0;
        return true;
      }
      continue;
    }
    out += keys_.substr(0, matched_);
    matched_ = 0;
    if (!keys_.empty() && c == keys_[0]) {
      matched_ = 1;
      continue;
    }
    out += c;
  }
  return false;
}

Result<> write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(fd, text.data(), text.size());
    if (written >= 0) {
      text.remove_prefix(static_cast<std::size_t>(written));
    } else if (errno == EAGAIN) {
      pollfd waiting{fd, POLLOUT, 0};
      ::poll(&waiting, 1, -1);
    } else if (errno != EINTR) {
      return sys_fail("write");
    }
  }
  return {};
}

}  // namespace corten::cli
