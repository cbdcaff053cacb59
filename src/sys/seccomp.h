// Loading of ready seccomp filters. Compiling a profile is runtime/seccomp_compile.h.
#pragma once

#include <cstdint>
#include <span>

#include "base/error.h"
#include "base/unique_fd.h"

namespace corten::sys {

// `program` is an array of struct sock_filter as bytes; `flags` are SECCOMP_FILTER_FLAG_*. Returns the listener
// descriptor if SECCOMP_FILTER_FLAG_NEW_LISTENER is among them, else an empty one.
Result<UniqueFd> load_seccomp_filter(std::span<const std::uint8_t> program, std::uint32_t flags);

}  // namespace corten::sys
