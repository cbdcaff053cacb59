#include "sys/process.h"

#include <linux/sched.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>

#include "sys/files.h"

#ifndef P_PIDFD
#define P_PIDFD 3
#endif

namespace corten::sys {
namespace {

ExitStatus status_of(const siginfo_t& info) {
  ExitStatus status;
  if (info.si_code == CLD_EXITED) {
    status.code = info.si_status;
  } else {
    status.signal = info.si_status;
    status.core_dumped = info.si_code == CLD_DUMPED;
  }
  return status;
}

Result<std::optional<ExitStatus>> wait_child(int pidfd, int options) {
  siginfo_t info{};
  while (::waitid(static_cast<idtype_t>(P_PIDFD), static_cast<id_t>(pidfd), &info, WEXITED | options) != 0)
    if (errno != EINTR) return sys_fail("wait for a child process");
  if (info.si_pid == 0) return std::optional<ExitStatus>();
  return std::optional(status_of(info));
}

}  // namespace

Result<UniqueFd> pidfd_open(pid_t pid) {
  UniqueFd fd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  if (!fd) {
    if (errno == ESRCH) return std::unexpected(Error(ErrorKind::not_found, fmt::format("no process {}", pid), ESRCH));
    return sys_fail("open process {}", pid);
  }
  return fd;
}

Result<pid_t> pidfd_pid(int pidfd) {
  const auto text = TRY(read_file(fmt::format("/proc/self/fdinfo/{}", pidfd)));
  constexpr std::string_view key = "\nPid:\t";
  pid_t pid = 0;
  if (const auto at = text.find(key); at != std::string::npos)
    std::from_chars(text.data() + at + key.size(), text.data() + text.size(), pid);
  // -1: it has ended, 0: it is not in our namespace.
  if (pid <= 0) return std::unexpected(Error(ErrorKind::not_found, "process has ended", ESRCH));
  return pid;
}

Result<char> process_state(pid_t pid) {
  const auto text = TRY(read_file(fmt::format("/proc/{}/stat", pid), 4096));
  // It follows the program's name, which stands in parentheses and may hold any itself.
  const std::size_t name_end = text.rfind(") ");
  if (name_end == std::string::npos || name_end + 2 >= text.size()) {
    return fail(ErrorKind::invalid, "no state in /proc/{}/stat", pid);
  }
  return text[name_end + 2];
}

Result<> pidfd_send_signal(int pidfd, int signal) {
  if (::syscall(SYS_pidfd_send_signal, pidfd, signal, nullptr, 0) != 0) {
    if (errno == ESRCH) return std::unexpected(Error(ErrorKind::not_found, "process has ended", ESRCH));
    return sys_fail("send signal {}", signal);
  }
  return {};
}

Result<UniqueFd> pidfd_getfd(int pidfd, int fd) {
  UniqueFd copy(static_cast<int>(::syscall(SYS_pidfd_getfd, pidfd, fd, 0)));
  if (!copy) return sys_fail("copy descriptor {} of another process", fd);
  return copy;
}

Result<bool> pidfd_wait_ended(int pidfd, std::chrono::milliseconds timeout) {
  using Steady = std::chrono::steady_clock;
  const auto deadline = Steady::now() + timeout;
  while (true) {
    int wait = -1;
    if (timeout.count() >= 0) {
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Steady::now());
      wait = static_cast<int>(std::clamp<std::int64_t>(left.count(), 0, 1 << 30));
    }
    pollfd entry{pidfd, POLLIN, 0};
    const int ready = ::poll(&entry, 1, wait);
    if (ready > 0) return true;
    if (ready == 0) return false;
    if (errno != EINTR) return sys_fail("wait for a process");
  }
}

Result<ExitStatus> reap(int pidfd) {
  auto status = TRY(wait_child(pidfd, 0));
  if (!status) return fail(ErrorKind::internal, "wait for a child process: no status");
  return *status;
}

Result<std::optional<ExitStatus>> try_reap(int pidfd) { return wait_child(pidfd, WNOHANG); }

ChildProcess& ChildProcess::operator=(ChildProcess&& other) noexcept {
  if (this != &other) {
    destroy();
    pid_ = std::exchange(other.pid_, 0);
    pidfd_ = std::move(other.pidfd_);
  }
  return *this;
}

void ChildProcess::destroy() {
  if (pid_ <= 0) return;
  (void)pidfd_send_signal(pidfd_.get(), SIGKILL);
  (void)reap(pidfd_.get());
  pid_ = 0;
  pidfd_.reset();
}

Result<ExitStatus> ChildProcess::wait() {
  auto status = TRY(reap(pidfd_.get()));
  pid_ = 0;
  pidfd_.reset();
  return status;
}

UniqueFd ChildProcess::release() {
  pid_ = 0;
  return std::move(pidfd_);
}

Result<Cloned> clone_process(const CloneRequest& request) {
  int pidfd = -1;
  clone_args args{};
  args.flags = request.flags | CLONE_PIDFD;
  args.pidfd = reinterpret_cast<std::uint64_t>(&pidfd);
  args.exit_signal = (request.flags & CLONE_PARENT) != 0 ? 0U : static_cast<std::uint64_t>(request.exit_signal);
  if (request.cgroup >= 0) {
    args.flags |= CLONE_INTO_CGROUP;
    args.cgroup = static_cast<std::uint64_t>(request.cgroup);
  }
  const long pid = ::syscall(SYS_clone3, &args, sizeof args);
  if (pid < 0) return sys_fail("clone a process");
  if (pid == 0) return Cloned{};
  return Cloned{static_cast<pid_t>(pid), UniqueFd(pidfd)};
}

}  // namespace corten::sys
