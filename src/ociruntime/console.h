// The terminal of a container's process, and waiting for a process in the foreground.
#pragma once

#include <string>

#include "base/error.h"
#include "base/unique_fd.h"
#include "sys/process.h"

namespace corten::ociruntime {

// Sends the terminal's master to whoever listens on the socket (SOCK_STREAM; the descriptor rides on its name).
Result<> send_console(const std::string& socket_path, int master);

// Waits for the child. Signals that this program gets are passed on; with a console, its bytes go to standard output
// and those of standard input to it, our own terminal is in raw mode meanwhile and its size is kept the same. Returns a
// shell's exit code.
Result<int> wait_in_foreground(sys::ChildProcess child, UniqueFd console);

}  // namespace corten::ociruntime
