// Names come from strangers and go into one-line error texts.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>

namespace corten::erofs {

inline std::string shown(std::string_view text) {
  constexpr std::size_t longest = 200;
  std::string out(text.substr(0, longest));
  std::ranges::replace_if(out, [](unsigned char c) { return c < 0x20 || c == 0x7f; }, '?');
  if (text.size() > longest) out += "...";
  return out;
}

}  // namespace corten::erofs
