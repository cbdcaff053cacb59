// Numbers of system calls by name. Private to runtime's compile half.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "runtime/seccomp_filter.h"

namespace corten::runtime {

// What a name stands for on one architecture: its own number and, where calls go through one entry (socketcall, ipc on
// 32-bit x86), that entry's with a condition on its first argument.
struct CallNumber {
  std::uint32_t number = 0;
  std::optional<FilterCondition> selector;
};

// `token` is a SCMP_ARCH_*. Empty if the architecture has no such call, or nobody here knows its number: libseccomp's
// tables are asked first, then our own of what came after Linux 5.17.
std::vector<CallNumber> numbers_of_call(std::uint32_t token, const std::string& name);

}  // namespace corten::runtime
