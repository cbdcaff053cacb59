// Pseudo terminals.
#pragma once

#include <cstdint>

#include "base/error.h"
#include "base/unique_fd.h"

namespace corten::sys {

struct Pty {
  UniqueFd master;
  UniqueFd slave;
};
struct WindowSize {
  std::uint16_t rows = 0;
  std::uint16_t columns = 0;
};

// A new pair from the devpts instance whose root directory is `devpts`; the file system is checked, and the slave is
// opened through the master, not by its name.
Result<Pty> open_pty(int devpts);
// From the machine's own /dev/ptmx.
Result<Pty> open_pty();
Result<> set_window_size(int tty, WindowSize size);
Result<WindowSize> window_size(int tty);
// Makes the terminal the controlling one of the calling session leader.
Result<> set_controlling_terminal(int tty);

}  // namespace corten::sys
