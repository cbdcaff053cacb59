// Children by pid descriptor: clone3, waiting, signals.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <optional>

#include "base/error.h"
#include "base/unique_fd.h"

namespace corten::sys {

// How a process ended. Exactly one of the two is meaningful: `signal` is 0 for a normal exit.
struct ExitStatus {
  int code = 0;
  int signal = 0;
  bool core_dumped = false;
  // What a shell shows: code, or 128 + signal.
  int shell_code() const { return signal != 0 ? 128 + signal : code; }
  bool operator==(const ExitStatus&) const = default;
};

Result<UniqueFd> pidfd_open(pid_t pid);
// The number of the process in our pid namespace (that of /proc).
Result<pid_t> pidfd_pid(int pidfd);
Result<> pidfd_send_signal(int pidfd, int signal);
// A copy of the descriptor `fd` of the process (needs ptrace rights).
Result<UniqueFd> pidfd_getfd(int pidfd, int fd);
// True once the process has ended; waits up to `timeout` (negative: for ever). Works for processes that are not our
// children.
Result<bool> pidfd_wait_ended(int pidfd, std::chrono::milliseconds timeout);
// The letter for the process's state in /proc/PID/stat: R, S, D, T (stopped by a signal), t (by a tracer), Z …
Result<char> process_state(pid_t pid);
// Reaps our child; blocks.
Result<ExitStatus> reap(int pidfd);
// Reaps our child if it has ended.
Result<std::optional<ExitStatus>> try_reap(int pidfd);

// A child of ours: killed and reaped when the owner goes away, unless released.
class [[nodiscard]] ChildProcess {
 public:
  ChildProcess() = default;
  ChildProcess(pid_t pid, UniqueFd pidfd) : pid_(pid), pidfd_(std::move(pidfd)) {}
  ChildProcess(ChildProcess&& other) noexcept : pid_(std::exchange(other.pid_, 0)), pidfd_(std::move(other.pidfd_)) {}
  ChildProcess& operator=(ChildProcess&& other) noexcept;
  ~ChildProcess() { destroy(); }

  pid_t pid() const { return pid_; }
  int pidfd() const { return pidfd_.get(); }
  explicit operator bool() const { return pid_ > 0; }
  // Reaps; the owner is empty afterwards.
  Result<ExitStatus> wait();
  // Gives up ownership: somebody else reaps. The pid descriptor goes along.
  UniqueFd release();

 private:
  void destroy();
  pid_t pid_ = 0;
  UniqueFd pidfd_;
};

struct CloneRequest {
  std::uint64_t flags = 0;  // CLONE_NEW*, CLONE_PARENT; CLONE_PIDFD is added
  int cgroup = -1;          // a cgroup v2 directory for CLONE_INTO_CGROUP
  int exit_signal = 17;     // SIGCHLD; ignored by the kernel with CLONE_PARENT, where it must be 0
};
// fork with namespaces: returns twice, in the child with pid 0 and no pidfd. Only for single-threaded programs, because
// the child has copies of locks that other threads hold.
struct Cloned {
  pid_t pid = 0;
  UniqueFd pidfd;
};
Result<Cloned> clone_process(const CloneRequest& request);

}  // namespace corten::sys
