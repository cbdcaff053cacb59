// Resource limits by name.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/error.h"

namespace corten::sys {

inline constexpr std::uint64_t rlimit_infinity = ~std::uint64_t{0};

// "RLIMIT_NOFILE" or "nofile" gives the RLIMIT_* number; `invalid` otherwise.
Result<int> rlimit_from_name(std::string_view name);
// "RLIMIT_NOFILE" for 7; empty for an unknown number.
std::string_view rlimit_name(int resource);

struct Rlimit {
  std::uint64_t soft = 0;
  std::uint64_t hard = 0;
};
Result<Rlimit> get_rlimit(int resource);
Result<> set_rlimit(int resource, Rlimit limit);

}  // namespace corten::sys
