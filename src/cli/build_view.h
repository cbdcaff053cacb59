// Shows a build on standard error while it goes on, in one of its forms.
#pragma once

#include <memory>

#include "base/error.h"
#include "cli/build_log.h"
#include "cli/build_options.h"
#include "cli/context.h"

namespace corten::cli {

class BuildView {
 public:
  // `explain`: with each step's reason.
  static std::unique_ptr<BuildView> make(Context& context, BuildProgress progress, bool explain);
  virtual ~BuildView() = default;

  // From one thread. Writes; a standard error that cannot be written to is an error.
  Result<> take(const spec::BuildLine& line);
  // Time has passed.
  Result<> pass() { return draw(); }
  // How often pass() is wanted; zero: not at all, now.
  virtual std::chrono::milliseconds interval() const { return {}; }
  // All is over: "FINISHED", "ERROR", "CANCELED".
  virtual Result<> end(std::string_view word) = 0;
  // How many of the failed step's last lines are to be shown at the end; 0: all.
  virtual std::size_t failure_lines() const { return 0; }

  const BuildLog& log() const { return log_; }

  // Steps of our own, before and behind the daemon's.
  Result<> begin(unsigned id, std::string text);
  Result<> status(unsigned id, std::string text, std::uint64_t current = 0, std::uint64_t total = 0);
  Result<> finish(unsigned id, std::string error = "");
  static constexpr unsigned own_steps = 4'000'000'000;  // ids from here on

 protected:
  virtual Result<> show(const spec::BuildLine& line, const BuildLog::Change& change) = 0;
  virtual Result<> draw() { return {}; }

  BuildLog log_;

 private:
  Result<> take_step(const spec::BuildLine& line);
  bool exporting_ = false;  // what is about no step is shown as one of its own
};

}  // namespace corten::cli
