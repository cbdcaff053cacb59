// Text columns aligned by blanks, by the rules of Go's text/tabwriter: cells end in tabs, a column is a run of
// neighbouring lines that have that cell, the last cell of a line belongs to no column.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace corten::cli {

struct TabLayout {
  std::size_t min_width = 10;
  std::size_t padding = 3;
};

std::string align_tabs(std::string_view text, TabLayout layout = {});

}  // namespace corten::cli
