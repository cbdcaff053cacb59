// The terminal: its size, raw mode, signals to wait for along with descriptors.
#pragma once

#include <sys/types.h>
#include <termios.h>

#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/unique_fd.h"

namespace corten::cli {

struct WindowSize {
  unsigned rows = 0;
  unsigned columns = 0;
};

bool is_terminal(int fd);
std::optional<WindowSize> window_size(int fd);
// Columns to wrap help at: one less than the terminal has, else than 80, as Docker does.
std::size_t help_columns(int fd);

// Raw mode until destroyed, also when the program leaves by a fatal signal that goes through SignalWatch.
class [[nodiscard]] RawMode {
 public:
  static Result<RawMode> enter(int fd);
  RawMode(RawMode&& other) noexcept;
  RawMode& operator=(RawMode&&) = delete;
  ~RawMode();
  void restore();

 private:
  RawMode(int fd, const termios& saved) : fd_(fd), saved_(saved) {}
  int fd_ = -1;
  termios saved_{};
};

// Signals as a readable descriptor (signalfd). The signals are blocked while it lives.
class [[nodiscard]] SignalWatch {
 public:
  static Result<SignalWatch> create(std::span<const int> signals);
  SignalWatch(SignalWatch&& other) noexcept;
  SignalWatch& operator=(SignalWatch&&) = delete;
  ~SignalWatch();
  int fd() const { return fd_.get(); }
  // The next signal waiting, nullopt where there is none.
  std::optional<int> next();

 private:
  SignalWatch(UniqueFd fd, const sigset_t& previous) : fd_(std::move(fd)), previous_(previous) {}
  UniqueFd fd_;
  sigset_t previous_{};
};

// "ctrl-p,ctrl-q" as bytes; the error is Docker's.
Result<std::string> parse_detach_keys(std::string_view text);

// Finds the detach sequence in what is typed, across reads. Bytes that turn out not to belong to it are passed on.
class DetachFilter {
 public:
  explicit DetachFilter(std::string keys) : keys_(std::move(keys)) {}
  // Appends to `out` what goes to the container; true when the sequence is complete.
  bool feed(std::string_view typed, std::string& out);

 private:
  std::string keys_;
  std::size_t matched_ = 0;
};

// Asks on `out` and yields the line typed at the terminal `fd`, without the line break; with `echo` off nothing of it
// is shown. The terminal is left as it was, also where a signal ends the question: then the error is "prompt
// terminated". Empty at the end of input.
Result<std::string> read_typed_line(int fd, int out, std::string_view question, bool echo);

// Writes everything, waiting where the descriptor would block.
Result<> write_all(int fd, std::string_view text);

}  // namespace corten::cli
