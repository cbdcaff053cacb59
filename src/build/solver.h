// Runs a plan's stages: those that do not need each other at the same time, each once. Private to the module.
#pragma once

#include <optional>
#include <stop_token>
#include <vector>

#include "base/mutex.h"
#include "build/job.h"

namespace corten::build {

class Solver {
 public:
  // Takes over Job::stage. `cancel` ends the others when one stage fails.
  Solver(Job& job, std::stop_source& cancel);
  // The target's state. The first error ends all; what comes of it elsewhere is not told.
  Result<StatePtr> run();

 private:
  // A stage's result: waited for, or made by this thread where no other has begun it.
  Result<StatePtr> need(std::size_t index) EXCLUDES(mutex_);
  void work() EXCLUDES(mutex_);
  void make(std::size_t index) EXCLUDES(mutex_);
  bool claim(std::size_t index) EXCLUDES(mutex_);

  struct Slot {
    bool begun = false;
    std::optional<Result<StatePtr>> result;
  };
  Job& job_;
  std::stop_source& cancel_;
  std::vector<std::size_t> order_;  // wanted stages, in the file's order: whoever needs one comes after it
  Mutex mutex_;
  StopCondVar changed_;
  std::vector<Slot> slots_ GUARDED_BY(mutex_);
  std::size_t next_ GUARDED_BY(mutex_) = 0;  // of order_
  std::optional<Error> error_ GUARDED_BY(mutex_);
};

}  // namespace corten::build
