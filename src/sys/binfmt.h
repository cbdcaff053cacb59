// The kernel's table of interpreters for foreign programs (binfmt_misc): is there an emulator for an architecture?
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/unique_fd.h"

namespace corten::sys {

// One registration, as its file in the table tells it.
struct Interpreter {
  std::string name;  // of the registration: "qemu-aarch64"
  std::string path;
  bool enabled = false;
  // Flag F: the kernel opened it when it was registered. Otherwise it is looked for where the program runs.
  bool opened = false;
};

// The table's root directory; mounted for us alone where the host has not mounted it. not_implemented where this
// kernel has none.
Result<UniqueFd> open_binfmt_table();

// False where foreign programs are switched off altogether.
Result<bool> binfmt_enabled(int table);

// The registration that takes ELF programs for this architecture (Go's name of it), an enabled one before others.
// nullopt where there is none, and for architectures that are not known here.
Result<std::optional<Interpreter>> find_interpreter(int table, std::string_view architecture);

// A registration's file, if its magic takes such programs.
std::optional<Interpreter> read_registration(std::string_view name, std::string_view text,
                                             std::string_view architecture);

}  // namespace corten::sys
