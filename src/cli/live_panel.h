// Lines at the bottom of a terminal that are redrawn in place.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "cli/style.h"
#include "cli/terminal.h"

namespace corten::cli {

// The bytes that put `lines` in the place of lines that were `drawn` columns wide, with the cursor below them, as it is
// afterwards. Lines that a window made narrower has broken since are counted as the rows they have become.
std::string redrawn(std::span<const std::size_t> drawn, std::span<const std::string> lines, WindowSize window);

class LivePanel {
 public:
  // The last line is in this colour.
  LivePanel(int fd, Colour colour) : fd_(fd), colour_(colour) {}

  // Writes nothing where nothing has changed. The cursor must be where the last drawing left it.
  Result<> draw(std::vector<std::string> lines, WindowSize window);
  // What is drawn stays; the next drawing begins below it.
  void leave();

 private:
  int fd_;
  Colour colour_;
  WindowSize window_;
  std::vector<std::string> lines_;
};

}  // namespace corten::cli
