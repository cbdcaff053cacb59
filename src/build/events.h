// What a build tells while it goes on. The server turns it into Docker's classic stream or Corten's own.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "dockerfile/syntax.h"

namespace corten::build {

// A step has begun to be looked at. `id` tells steps of one build apart and stays for the events below.
struct StepBegun {
  unsigned id = 0;
  std::string stage;               // "builder", "stage-1"; "" for what is about no stage (loading the context)
  unsigned number = 0, total = 0;  // within the whole build, from 1: Docker's "Step 3/12"
  std::string text;                // "RUN make"
  std::string platform;            // "linux/arm64" where several are built
};
struct StepOutput {
  unsigned id = 0;
  bool is_stderr = false;
  std::string_view bytes;
};
// The step's command begins to run, in this container.
struct StepRuns {
  unsigned id = 0;
  std::string container;
};
// A line about what the step is at: "pulling layer …", "copied 2,000 files".
struct StepStatus {
  unsigned id = 0;
  std::string text;
  std::uint64_t current = 0, total = 0;
};
struct StepEnded {
  unsigned id = 0;
  bool cached = false;
  std::string error;  // "" when it went well
  int exit_code = 0;  // of a RUN whose command failed
  std::string image;  // what the image's id would be if this were the last step, "sha256:…"
  std::string why;    // --explain: why it hit or missed, one line
  std::chrono::nanoseconds took{};
};
struct Warned {
  dockerfile::Warning warning;
  std::string file;
  std::string excerpt;
};

using Event = std::variant<StepBegun, StepOutput, StepStatus, StepEnded, Warned, StepRuns>;
// From any of the build's threads, one at a time.
using Tell = std::function<void(const Event&)>;

}  // namespace corten::build
