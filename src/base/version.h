// What was built: one place for all programs.
#pragma once

#include <string_view>

namespace corten {

std::string_view version();     // "0.1.0"
std::string_view git_commit();  // short hash, or "unknown" outside a checkout

}  // namespace corten
