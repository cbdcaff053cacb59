// What a build has told so far: its steps, what they wrote, its warnings. Draws nothing and knows no clock.
//
// All views of a build are of one of these. The daemon's numbers and texts are taken as hostile: counts and sizes are
// bounded.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "spec/build_request.h"

namespace corten::cli {

struct BuildStep {
  using Time = std::chrono::steady_clock::time_point;
  // A line of the step's output, as it came but for the line break.
  struct Line {
    std::chrono::milliseconds at{};  // since the step began
    std::string text;
  };

  unsigned number = 0;  // in the order of their beginnings, from 1
  std::string title;    // "[builder 2/4] RUN make"
  bool counts = false;  // one of the Dockerfile's
  Time begun{};
  bool ended = false, cached = false;
  std::chrono::nanoseconds took{};
  std::string error, why;
  std::string status;  // what it is at, "" where that has not been told
  std::uint64_t current = 0, total = 0;
  std::deque<Line> lines;      // the last ones
  std::size_t bytes = 0;       // of `lines`
  std::uint64_t left_out = 0;  // lines before those
  std::string unfinished[2];   // of standard output and standard error
};

class BuildLog {
 public:
  using Time = BuildStep::Time;

  // What one message has changed. The step stays where it is.
  struct Change {
    BuildStep* step = nullptr;  // none: a warning, or nothing that shows
    std::size_t fresh = 0;      // of step->lines, how many at the end are new
    bool begun = false, status = false, ended = false;
  };
  Change take(const spec::BuildLine& line, Time now);

  const std::deque<BuildStep>& steps() const { return steps_; }
  const std::vector<spec::BuildWarning>& warnings() const { return warnings_; }
  // Steps of the Dockerfile: those that have ended, and all as far as they are known.
  std::size_t done() const { return done_; }
  std::size_t all() const { return all_; }
  // The step that failed first; nullptr where none did.
  const BuildStep* failed() const { return failed_; }

  static constexpr std::size_t max_kept_bytes = 1 << 20;  // of one step's output
  static constexpr std::size_t max_line = 64 << 10;       // longer ones are broken

 private:
  BuildStep* find(unsigned id);
  Change begin(const spec::BuildStepBegun& begun, Time now);
  Change output(const spec::BuildStepOutput& output, Time now);
  Change end(const spec::BuildStepEnded& ended, Time now);
  static void add_line(BuildStep& step, std::string text, Time now, Change& change);

  std::deque<BuildStep> steps_;
  std::map<unsigned, BuildStep*> by_id_;
  std::vector<spec::BuildWarning> warnings_;
  std::size_t done_ = 0, all_ = 0;
  const BuildStep* failed_ = nullptr;
};

// One line of a program's output as a terminal would have left it: sequences taken out, what a carriage return or a
// backspace has overwritten gone, no control characters.
std::string settled_line(std::string_view line);
// "12.3s"
std::string seconds_text(std::chrono::nanoseconds time);
// "transferring context: 2.3kB / 4MB"
std::string status_text(const BuildStep& step);

// What is said of warnings at a build's end, "" where there are none. `wide`: with the lines of the Dockerfile.
std::string warnings_text(const std::vector<spec::BuildWarning>& warnings, bool wide);
// The answer to --check.
std::string check_text(const std::vector<spec::BuildWarning>& warnings);
// The output of the step that failed, at most `lines` of its last lines (0: all that was kept); "" without one.
std::string failure_text(const BuildLog& log, std::size_t lines);

}  // namespace corten::cli
