// Tells of steps: one event at a time, from whichever thread, and an end for every beginning. Private to the module.
#pragma once

#include <atomic>
#include <chrono>
#include <string>
#include <string_view>
#include <utility>

#include "base/mutex.h"
#include "build/events.h"

namespace corten::build {

class Reporter {
 public:
  explicit Reporter(const Tell& tell) : tell_(tell) {}
  void tell(const Event& event) EXCLUDES(mutex_) {
    const MutexLock lock(mutex_);
    if (tell_) tell_(event);
  }
  unsigned next_id() { return ++last_id_; }

 private:
  Mutex mutex_;
  const Tell& tell_ GUARDED_BY(mutex_);
  std::atomic<unsigned> last_id_ = 0;
};

// One step, from when it is begun. Ends with an error if nobody has said how it ended.
class StepReport {
 public:
  StepReport(Reporter& reporter, StepBegun begun)
      : reporter_(reporter), id_(reporter.next_id()), began_(std::chrono::steady_clock::now()) {
    begun.id = id_;
    reporter_.tell(begun);
  }
  StepReport(const StepReport&) = delete;
  StepReport& operator=(const StepReport&) = delete;
  ~StepReport() {
    if (!ended_) end({.error = "cancelled"});
  }

  void output(bool is_stderr, std::string_view bytes) { reporter_.tell(StepOutput{id_, is_stderr, bytes}); }
  void runs(std::string container) { reporter_.tell(StepRuns{.id = id_, .container = std::move(container)}); }
  void status(std::string text) { reporter_.tell(StepStatus{.id = id_, .text = std::move(text)}); }
  void end(StepEnded ended) {
    ended.id = id_;
    ended.took = std::chrono::steady_clock::now() - began_;
    ended_ = true;
    reporter_.tell(ended);
  }

 private:
  Reporter& reporter_;
  const unsigned id_;
  const std::chrono::steady_clock::time_point began_;
  bool ended_ = false;
};

}  // namespace corten::build
