// Private to runtime's compile half.
#pragma once

#include <string_view>

namespace corten::runtime {

// data/seccomp_default.json.
std::string_view default_seccomp_profile_text();

}  // namespace corten::runtime
