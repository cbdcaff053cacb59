// What must hold before a daemon can work, each with an error that says what to do.
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>

#include "base/error.h"
#include "base/unique_fd.h"

namespace corten::daemon {

Result<> check_root_user();
// A kernel without overlayfs has no place for layers.
Result<> check_overlayfs();
// The directory, made where it is missing; an error names the flag that chooses another.
Result<> make_root(const std::string& path, mode_t mode, std::string_view flag);

// The lock of a directory that only one daemon may work in, for as long as the descriptor is open. Two in one exec root
// or beneath one parent control group would take each other's running containers for what a crash has left, and end
// them. conflict: another daemon has it.
Result<UniqueFd> claim_directory(const std::string& path, std::string_view what, std::string_view flag);

// The error with what can be done about it behind its text.
Error with_advice(const Error& error, std::string_view advice);

}  // namespace corten::daemon
