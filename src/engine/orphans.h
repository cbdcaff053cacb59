// Names of what may be left over, as boot reads them from directories.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace corten::engine {

// Entries of a directory without those that begin with a dot; none when it cannot be read.
std::vector<std::string> directory_names(const std::string& path);
// 64 hexadecimal digits.
bool is_container_id(std::string_view name);

}  // namespace corten::engine
