// The version of these programs.
#pragma once

#include <string_view>

namespace corten::cli {

inline constexpr std::string_view version_text = "0.1.0";

}  // namespace corten::cli
