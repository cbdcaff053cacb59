#include "build/solver.h"

#include <algorithm>
#include <thread>

#include "base/thread.h"

namespace corten::build {
namespace {

// Stages that run at once. More wait: most are blocked on a command or on each other, so it may be many.
constexpr std::size_t max_threads = 64;

}  // namespace

Solver::Solver(Job& job, std::stop_source& cancel) : job_(job), cancel_(cancel), slots_(job.plan.stages.size()) {
  for (std::size_t i = 0; i < job.plan.stages.size(); ++i)
    if (job.plan.stages[i].wanted) order_.push_back(i);
  job.stage = [this](std::size_t index) { return need(index); };
}

// Stages are begun in the file's order and need only those before them: the earliest unfinished one never waits for one
// that has not begun, so that any number of threads gets to the end.
Result<StatePtr> Solver::run() {
  std::vector<std::jthread> helpers;
  for (std::size_t i = 1; i < std::min(order_.size(), max_threads); ++i) {
    auto helper = start_thread<std::jthread>([this] { work(); });
    if (!helper) break;  // fewer do it, too
    helpers.push_back(std::move(*helper));
  }
  work();
  helpers.clear();
  const MutexLock lock(mutex_);
  if (error_) return std::unexpected(*error_);
  return *slots_[job_.plan.target].result;
}

bool Solver::claim(std::size_t index) {
  const MutexLock lock(mutex_);
  return !std::exchange(slots_[index].begun, true);
}

void Solver::work() {
  for (;;) {
    std::size_t index = 0;
    {
      const MutexLock lock(mutex_);
      if (next_ == order_.size()) return;
      index = order_[next_++];
    }
    if (claim(index)) make(index);
  }
}

void Solver::make(std::size_t index) {
  auto result =
      job_.stop.stop_requested() ? fail(ErrorKind::cancelled, "the build was cancelled") : run_stage(job_, index);
  bool failed = false;
  {
    const MutexLock lock(mutex_);
    if (!result && !error_) {
      error_ = result.error();
      failed = true;
    }
    slots_[index].result = std::move(result);
    changed_.notify_all();
  }
  if (failed) cancel_.request_stop();
}

Result<StatePtr> Solver::need(std::size_t index) {
  // Only what ONBUILD of a base image names is not begun by anybody else: plan.cc cannot know of it.
  if (claim(index)) make(index);
  MutexLock lock(mutex_);
  changed_.wait(lock, job_.stop, [&]() REQUIRES(mutex_) { return slots_[index].result.has_value(); });
  if (!slots_[index].result) return fail(ErrorKind::cancelled, "the build was cancelled");
  if (!*slots_[index].result) return fail(ErrorKind::cancelled, "the build was cancelled");
  return *slots_[index].result;
}

}  // namespace corten::build
