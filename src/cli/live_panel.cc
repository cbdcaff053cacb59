#include "cli/live_panel.h"

#include <fmt/format.h>

#include <algorithm>

#include "cli/progress_board.h"

namespace corten::cli {
namespace {

constexpr std::string_view clear_to_end_of_line = "\x1b[K";
constexpr std::string_view clear_below = "\x1b[J";

}  // namespace

std::string redrawn(std::span<const std::size_t> drawn, std::span<const std::string> lines, WindowSize window) {
  const std::size_t columns = window.columns == 0 ? 80 : window.columns;
  std::size_t rows = 0;
  for (const std::size_t width : drawn) rows += std::max<std::size_t>(1, (width + columns - 1) / columns);
  // What has left the window at its top is out of reach.
  if (window.rows > 0) rows = std::min<std::size_t>(rows, window.rows - 1);
  std::string out = "\r";
  if (rows > 0) out += fmt::format("\x1b[{}A", rows);
  for (const std::string& line : lines) {
    out += line;
    out += clear_to_end_of_line;
    out += "\r\n";
  }
  out += clear_below;
  return out;
}

Result<> LivePanel::draw(std::vector<std::string> lines, WindowSize window) {
  const bool same_window = window.rows == window_.rows && window.columns == window_.columns;
  if (same_window && lines == lines_) return {};
  std::vector<std::size_t> widths;
  widths.reserve(lines_.size());
  for (const std::string& line : lines_) widths.push_back(columns_of(line));
  lines_ = lines;
  if (!lines.empty()) lines.back() = coloured(lines.back(), colour_);
  CHECK(write_all(fd_, redrawn(widths, lines, window)));
  window_ = window;
  return {};
}

void LivePanel::leave() { lines_.clear(); }

}  // namespace corten::cli
