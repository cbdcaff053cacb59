// The stream of Docker's classic builder, as `docker build` with DOCKER_BUILDKIT=0, docker-py and docker-compose read
// it. It knows one step at a time: what steps of other stages say meanwhile is kept and told in its turn.
#pragma once

#include <cstddef>
#include <map>
#include <string>

#include "base/mutex.h"
#include "server/build_teller.h"
#include "server/progress_stream.h"

namespace corten::server {

class ClassicTeller : public BuildTeller {
 public:
  struct Options {
    bool quiet = false;  // the id alone; all the rest only of a build that fails
    // More is not kept, of steps whose turn has not come or (quiet) of all: then the longest text goes out ahead of its
    // turn (quiet: the oldest goes).
    std::size_t kept_bytes = 8U << 20;
  };
  ClassicTeller(Call& call, const Options& options) : stream_(call), options_(options) {}

  void event(const build::Event& event) override EXCLUDES(mutex_);
  void transfer(const image::TransferEvent& event) override EXCLUDES(mutex_);
  Result<> finish(const Result<BuildOutcome>& how) override EXCLUDES(mutex_);

 private:
  struct Step {
    unsigned number = 0;
    bool base = false;  // FROM: nothing that a cache could have
    bool ended = false;
    std::string container;  // short id of what runs it
    // Ends of output that are no whole character yet.
    std::string cut_output, cut_errors;
    std::string kept;  // text, in order
  };

  void begun(const build::StepBegun& event) REQUIRES(mutex_);
  void output(const build::StepOutput& event) REQUIRES(mutex_);
  void runs(const build::StepRuns& event) REQUIRES(mutex_);
  void ended(const build::StepEnded& event) REQUIRES(mutex_);
  void warned(const build::Warned& event) REQUIRES(mutex_);

  // In the step's turn.
  void tell(Step& step, std::string_view text) REQUIRES(mutex_);
  void tell_kept(Step& step) REQUIRES(mutex_);
  void relieve() REQUIRES(mutex_);
  void turn_to_next() REQUIRES(mutex_);
  void tell_rest() REQUIRES(mutex_);
  // At once.
  void write(std::string_view text) REQUIRES(mutex_);

  Mutex mutex_;
  ProgressStream stream_ GUARDED_BY(mutex_);
  const Options options_;
  std::map<unsigned, Step> steps_ GUARDED_BY(mutex_);  // by id
  unsigned turn_ GUARDED_BY(mutex_) = 1;               // the number of the step that is told as it goes
  std::size_t kept_ GUARDED_BY(mutex_) = 0;
  std::string quiet_ GUARDED_BY(mutex_);
  std::string warnings_ GUARDED_BY(mutex_);  // told at the end, as Docker's
  int exit_code_ GUARDED_BY(mutex_) = 0;     // of the command that failed
};

// The text of an error as Docker's classic builder has it: of a command that failed only "The command … returned a
// non-zero code: 2", with the code; else all of it.
struct ClassicError {
  std::string message;
  int code = 0;
};
ClassicError classic_error(std::string_view text);

// How many bytes at the end of `text` begin a UTF-8 character that is not whole yet: 0 to 3.
std::size_t unfinished_character(std::string_view text);

}  // namespace corten::server
