#include "cli/tabwriter.h"

#include <algorithm>
#include <vector>

namespace corten::cli {
namespace {

using Line = std::vector<std::string_view>;

// Columns are aligned by recursion, one level each; what is behind the last of them stays as it is.
constexpr std::size_t max_columns = 1000;

std::size_t rune_count(std::string_view text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xc0) != 0x80; }));
}

class Aligner {
 public:
  Aligner(const std::vector<Line>& lines, TabLayout layout) : lines_(lines), layout_(layout) {}

  std::string run() {
    format(0, lines_.size());
    return std::move(out_);
  }

 private:
  void write(std::size_t from, std::size_t to) {
    for (std::size_t i = from; i < to; ++i) {
      const Line& line = lines_[i];
      for (std::size_t j = 0; j < line.size(); ++j) {
        out_ += line[j];
        if (j < widths_.size() && j + 1 < line.size()) {
          const std::size_t used = rune_count(line[j]);
          if (used < widths_[j]) out_.append(widths_[j] - used, ' ');
        }
      }
      if (i + 1 < lines_.size()) out_ += '\n';
    }
  }

  // Lines [from, to) share the columns in widths_; each further column is a block of its own.
  void format(std::size_t from, std::size_t to) {
    const std::size_t column = widths_.size();
    for (std::size_t at = from; at < to; ++at) {
      if (column + 1 >= lines_[at].size()) continue;
      write(from, at);
      from = at;
      std::size_t width = layout_.min_width;
      for (; at < to && column + 1 < lines_[at].size(); ++at) {
        width = std::max(width, rune_count(lines_[at][column]) + layout_.padding);
      }
      widths_.push_back(width);
      format(from, at);
      widths_.pop_back();
      from = at;
      --at;
    }
    write(from, to);
  }

  const std::vector<Line>& lines_;
  TabLayout layout_;
  std::vector<std::size_t> widths_;
  std::string out_;
};

}  // namespace

std::string align_tabs(std::string_view text, TabLayout layout) {
  std::vector<Line> lines(1);
  std::size_t start = 0;
  for (std::size_t i = 0; i <= text.size(); ++i) {
    if (i < text.size() && text[i] != '\t' && text[i] != '\n') continue;
    if (i < text.size() && text[i] == '\t' && lines.back().size() >= max_columns) continue;
    lines.back().push_back(text.substr(start, i - start));
    start = i + 1;
    if (i < text.size() && text[i] == '\n') lines.emplace_back();
  }
  return Aligner(lines, layout).run();
}

}  // namespace corten::cli
