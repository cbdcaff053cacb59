// Small things about text.
#pragma once

#include <string_view>

namespace corten {

// Without the blanks of ASCII at both ends.
inline std::string_view trim(std::string_view text) {
  constexpr std::string_view blank = " \t\n\v\f\r";
  const auto first = text.find_first_not_of(blank);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(blank) - first + 1);
}

}  // namespace corten
