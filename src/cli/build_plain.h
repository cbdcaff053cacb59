// A build as lines of text, in the form of BuildKit's plain progress:
//
//   #5 [builder 2/4] RUN make
//   #5 0.123 output
//   #5 DONE 0.4s
//
// Steps that run side by side are not mixed line by line: one is shown until it ends or falls silent, what the others
// write waits for that long. Pure: knows no clock and writes nothing.
#pragma once

#include <map>
#include <string>

#include "cli/build_log.h"

namespace corten::cli {

class BuildPlain {
 public:
  using Time = BuildLog::Time;

  // `explain`: with each step's reason. `terminal`: output of steps loses what could steer one.
  BuildPlain(bool explain, bool terminal) : explain_(explain), terminal_(terminal) {}

  // What is to be written now. `change` is what the log said of the message.
  std::string take(const BuildLog::Change& change, Time now);
  // The same when time has passed; at the end of all, `last`.
  std::string pass(Time now, bool last = false);
  bool waiting() const { return !waiting_.empty(); }

 private:
  struct Held {
    BuildStep* step = nullptr;
    std::string text;
    std::uint64_t turn = 0;  // who waits the longest
    bool ends = false;       // with that the step is over
  };

  void say(BuildStep& step, std::string_view text, Time now, bool ends = false);
  void show(unsigned number, Time now);
  void settle(Time now, bool last);
  void tell_status(BuildStep& step, Time now, bool last);
  std::string line_of(const BuildStep::Line& line) const;

  const bool explain_, terminal_;
  std::string out_;
  unsigned shown_ = 0;  // the step under whose header we are, 0 for none
  bool shown_ended_ = true;
  bool began_ = false;
  Time last_said_{};
  std::map<unsigned, Held> waiting_;
  std::uint64_t turns_ = 0;
  struct Told {
    std::string text;
    Time at{};
  };
  std::map<unsigned, Told> statuses_;
};

}  // namespace corten::cli
