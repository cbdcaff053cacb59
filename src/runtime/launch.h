// Executes plans. For a single-threaded program (the shim, corten-runtime): between clone and exec the child runs our
// code.
//
//   auto prepared = TRY(prepare(plan, fds));     // namespaces, mounts, devices, identity: all but exec
//   …                                            // the OCI runtime ends `create` here
//   CHECK(release(prepared));                    // exec; returns when the program runs, or with the reason why not
//   pidfd = prepared.child.release();            // from now on the caller reaps
//
// Errors carry the step that failed in the child: "mount /proc: permission denied". An argv[0] that cannot be run is
// not_found or forbidden with Docker's text (`exec: "foo": executable file not found in $PATH`); exec_exit_code gives
// 127 or 126 for it.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/unique_fd.h"
#include "runtime/launch_plan.h"
#include "sys/process.h"

namespace corten::runtime {

struct PreparedProcess {
  // Killed and reaped with this object, unless released.
  sys::ChildProcess child;
  UniqueFd console;  // the terminal's master, if the plan has a terminal
  UniqueFd control;  // internal: the line to the child until it runs
  UniqueFd seccomp_listener;
  std::vector<std::string> warnings;
};

struct PrepareHooks {
  // Called by prepare when the mounts are made and pivot_root is next (OCI: prestart, createRuntime). Costs one round
  // trip; empty: none.
  std::function<Result<>(pid_t pid)> before_pivot;
};

// `fds` are the descriptors that the plan's slots name. They stay the caller's, and the child has copies of them only
// until exec.
Result<PreparedProcess> prepare(const LaunchPlan& plan, std::span<const UniqueFd> fds, const PrepareHooks& hooks = {});

// prepare and release in one, without the wait in between: what the shim calls. The child runs its program when this
// returns.
Result<PreparedProcess> launch(const LaunchPlan& plan, std::span<const UniqueFd> fds);

// One more process in the namespaces of the process behind `target` (a pid descriptor), a direct child of the caller.
Result<PreparedProcess> prepare_exec(const ExecPlan& plan, int target, std::span<const UniqueFd> fds);

// prepare_exec and release in one.
Result<PreparedProcess> launch_exec(const ExecPlan& plan, int target, std::span<const UniqueFd> fds);

// Lets the prepared process exec. On an error the process is gone and reaped.
Result<> release(PreparedProcess& process);
// The same over a connection to the plan's start_listener, from another program than the one that called prepare.
Result<> release_over(int connection);

// What Docker's clients see as the container's exit code for an error of prepare or release: 127 for a program that is
// not there, 126 for one that cannot be run, 128 for any other.
int exec_exit_code(const Error& error);

}  // namespace corten::runtime
