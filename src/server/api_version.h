// Engine API versions: which there are, and which a request speaks.
#pragma once

#include <compare>
#include <string>
#include <string_view>

#include "base/error.h"

namespace corten::server {

struct ApiVersion {
  int major = 1;
  int minor = 0;
  auto operator<=>(const ApiVersion&) const = default;
  std::string text() const { return fmt::format("{}.{}", major, minor); }
};

inline constexpr ApiVersion minimum_version{1, 24};
inline constexpr ApiVersion maximum_version{1, 51};

// "1.43". Kind invalid with Docker's texts for what is too old, too new or no version.
Result<ApiVersion> parse_api_version(std::string_view text);

}  // namespace corten::server
