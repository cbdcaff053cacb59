// What a terminal shows of a build: finished steps one below the other, and under them a panel with those that run,
// the last lines that they wrote, and a line for the whole. Pure: draws nothing, knows no clock.
#pragma once

#include <string>
#include <vector>

#include "cli/build_log.h"
#include "cli/progress_board.h"
#include "cli/style.h"

namespace corten::cli {

struct BuildLineShown {
  std::string text;  // without control characters, fits the canvas
  Colour colour = Colour::none;
  bool operator==(const BuildLineShown&) const = default;
};

class BuildBoard {
 public:
  using Time = BuildLog::Time;

  BuildBoard(const BuildLog& log, bool explain) : log_(log), explain_(explain) {}

  void take(const BuildLog::Change& change);
  // Lines for steps that have ended since the last call: they stand above the panel from now on.
  std::vector<BuildLineShown> finished(const Canvas& canvas);
  // The panel, at most canvas.rows lines.
  std::vector<BuildLineShown> panel(const Canvas& canvas, Time now) const;
  // What takes the panel's place at the end: the steps that were stopped on the way, and the whole.
  std::vector<BuildLineShown> last(const Canvas& canvas, Time now, std::string_view word) const;

  static constexpr std::size_t most_output_lines = 6;  // of one step

 private:
  BuildLineShown step_line(const BuildStep& step, std::string_view word, std::chrono::nanoseconds time,
                           const Canvas& canvas) const;
  std::string sum_line(const Canvas& canvas, Time now, std::string_view word) const;
  std::vector<std::string> below(const BuildStep& step, const Canvas& canvas) const;

  const BuildLog& log_;
  const bool explain_;
  Time begun_{};
  bool any_ = false;
  std::vector<const BuildStep*> running_;   // in the order of their beginnings
  std::vector<const BuildStep*> finished_;  // not shown yet
};

}  // namespace corten::cli
