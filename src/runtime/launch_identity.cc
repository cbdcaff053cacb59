// Who the process is and what it may do.
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/keyctl.h>
#include <sched.h>
#include <signal.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "runtime/launch_child.h"
#include "runtime/launch_protocol.h"
#include "sys/beneath.h"
#include "sys/capability.h"
#include "sys/files.h"
#include "sys/pty.h"
#include "sys/rlimit.h"
#include "sys/seccomp.h"

namespace corten::runtime {
namespace {

// A filter without no_new_privs needs CAP_SYS_ADMIN when it is loaded, which is at the very end.
bool needs_admin_for_seccomp(const ProcessPlan& process) {
  return !process.seccomp.empty() && !process.no_new_privileges;
}

struct SchedAttributes {
  std::uint32_t size = sizeof(SchedAttributes);
  std::uint32_t policy = 0;
  std::uint64_t flags = 0;
  std::int32_t nice = 0;
  std::uint32_t priority = 0;
  std::uint64_t runtime = 0;
  std::uint64_t deadline = 0;
  std::uint64_t period = 0;
};

Result<> set_affinity(std::string_view list) {
  cpu_set_t set;
  CPU_ZERO(&set);
  while (!list.empty()) {
    const auto comma = list.find(',');
    const auto part = list.substr(0, comma);
    list = comma == std::string_view::npos ? std::string_view{} : list.substr(comma + 1);
    unsigned first = 0;
    const auto parsed = std::from_chars(part.data(), part.data() + part.size(), first);
    unsigned last = first;
    const char* end = parsed.ptr;
    if (parsed.ec == std::errc() && end != part.data() + part.size() && *end == '-')
      end = std::from_chars(end + 1, part.data() + part.size(), last).ptr;
    if (parsed.ec != std::errc() || end != part.data() + part.size() || last < first || last >= CPU_SETSIZE)
      return fail(ErrorKind::invalid, "CPU list \"{}\"", part);
    for (unsigned cpu = first; cpu <= last; ++cpu) CPU_SET(cpu, &set);
  }
  if (::sched_setaffinity(0, sizeof set, &set) != 0) return sys_fail("set the CPU affinity");
  return {};
}

// getcwd must name a place inside our root. A directory outside, reached through a descriptor that leaked, has no path
// here: the kernel says "(unreachable)" or ENOENT (CVE-2024-21626).
Result<> check_working_directory(const std::string& cwd) {
  std::array<char, 4096> buffer;
  if (::syscall(SYS_getcwd, buffer.data(), buffer.size()) < 0) return sys_fail("working directory {}", cwd);
  if (buffer[0] != '/') return fail(ErrorKind::invalid, "working directory {} is outside of the container's root", cwd);
  return {};
}

}  // namespace

Result<> reset_signals(Child& child) {
  (void)child;
  // What is ignored would stay ignored across exec. By the system call: the C library refuses to touch its own two
  // signals, which posix_spawn leaves ignored in what it starts (us, perhaps).
  constexpr std::array<unsigned long, 4> default_action{};  // the kernel's struct: handler, flags, restorer, mask
  for (int signal = 1; signal <= 64; ++signal)
    if (signal != SIGKILL && signal != SIGSTOP)
      (void)::syscall(SYS_rt_sigaction, signal, default_action.data(), nullptr, sizeof(unsigned long));
  sigset_t none;
  ::sigemptyset(&none);
  if (::sigprocmask(SIG_SETMASK, &none, nullptr) != 0) return sys_fail("reset the signal mask");
  if (::setsid() < 0) return sys_fail("new session");
  ::umask(0);
  return {};
}

// A parent that has ended before this call is noticed at the next read from the control socket.
Result<> die_with_parent(Child& child) {
  if (child.process.die_with_parent && ::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0)
    return sys_fail("prctl pdeathsig");
  return {};
}

Result<> set_oom_score(Child& child) {
  // In a first process with a user namespace of its own the parent has done it, with its own rights.
  if (!child.process.oom_score_adj || (child.launch != nullptr && child.new_user_namespace)) return {};
  return wrap(sys::write_existing("/proc/self/oom_score_adj", fmt::format("{}", *child.process.oom_score_adj)),
              "oom_score_adj");
}

Result<> join_session_keyring(Child& child) {
  const bool wanted = child.launch != nullptr ? child.launch->session_keyring : child.exec->session_keyring;
  if (!wanted) return {};
  const std::string name = "_ses." + (child.launch != nullptr ? child.launch->id : child.exec->id);
  // ENOSYS: a kernel without keys has none to protect.
  if (::syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, name.c_str()) >= 0 || errno == ENOSYS) return {};
  if (errno == EDQUOT) return sys_fail("join a session keyring (see kernel.keys.maxkeys and root_maxkeys)");
  return sys_fail("join a session keyring");
}

Result<> set_scheduling(Child& child) {
  const auto& process = child.process;
  if (process.io_priority) {
    constexpr int who_process = 1;
    if (::syscall(SYS_ioprio_set, who_process, 0, *process.io_priority) != 0) return sys_fail("set the I/O priority");
  }
  if (process.scheduler) {
    const auto& plan = *process.scheduler;
    const SchedAttributes attributes{sizeof(SchedAttributes), plan.policy,  plan.flags,    plan.nice,
                                     plan.priority,           plan.runtime, plan.deadline, plan.period};
    if (::syscall(SYS_sched_setattr, 0, &attributes, 0) != 0) return sys_fail("set the scheduler");
  }
  if (!process.cpu_affinity.empty()) CHECK(set_affinity(process.cpu_affinity));
  if (process.personality && ::personality(*process.personality) < 0) return sys_fail("set the personality");
  return {};
}

// Late, so that the limits hold the program and not what we still have to do: a limit of ten descriptors is below what
// we have open ourselves.
Result<> set_limits(Child& child) {
  if (child.process.rlimits.empty()) return {};
  // After a change of user the effective set is empty, the permitted one is not.
  if (child.process.uid != 0) CHECK(sys::raise_permitted());
  for (const auto& limit : child.process.rlimits) CHECK(sys::set_rlimit(limit.resource, {limit.soft, limit.hard}));
  return {};
}

// Tried before the change of user (a directory that only root may enter) and, if root may not, after it (root-squashing
// NFS).
Result<> enter_working_directory(Child& child) {
  if (child.in_working_directory) return {};
  const auto& cwd = child.process.cwd;
  auto directory = sys::open_beneath(child.root.get(), cwd, O_PATH | O_DIRECTORY);
  if (!directory || ::fchdir(directory->get()) != 0) {
    const int error = directory ? errno : directory.error().sys_errno();
    if (error == EACCES && !child.is_user) return {};
    return sys_fail_text(error, "working directory " + cwd);
  }
  child.in_working_directory = true;
  return check_working_directory(cwd);
}

Result<> become_user(Child& child) {
  const auto& process = child.process;
  if (process.capabilities) CHECK(sys::drop_bounding(process.capabilities->bounding));
  // Kept over the change of user; drop_privileges takes them away.
  if (::prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) != 0) return sys_fail("prctl keepcaps");
  // In a user namespace that has no right to setgroups this fails; then there must be nothing to set.
  if (::setgroups(process.groups.size(), process.groups.data()) != 0 && !(errno == EPERM && process.groups.empty()))
    return sys_fail("set supplementary groups");
  if (::setresgid(process.gid, process.gid, process.gid) != 0) return sys_fail("set the group to {}", process.gid);
  if (::setresuid(process.uid, process.uid, process.uid) != 0) return sys_fail("set the user to {}", process.uid);
  if (::prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0) != 0) return sys_fail("prctl keepcaps");
  CHECK(die_with_parent(child));
  // Nobody in a pid namespace that we have joined may look into a process that still is our program (CVE-2016-9962).
  if (::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) return sys_fail("prctl dumpable");
  ::umask(process.umask.value_or(0022));
  child.is_user = true;
  return {};
}

// Everything that is not to survive exec goes; what only loading the filter needs is given up right after.
Result<> drop_privileges(Child& child) {
  const auto& process = child.process;
  if (process.no_new_privileges && ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return sys_fail("prctl no_new_privs");
  const bool filter_first = needs_admin_for_seccomp(process);
  const auto load = [&]() -> Result<> {
    if (process.seccomp.empty()) return {};
    const auto listener = TRY(sys::load_seccomp_filter(process.seccomp, process.seccomp_flags));
    if (listener) CHECK(send(child.control, MessageType::listener, 0, {}, listener.get()));
    return {};
  };
  if (filter_first) {
    // After a change of user the effective set is empty, the permitted one is not.
    CHECK(sys::raise_permitted());
    CHECK(load());
  }
  if (process.capabilities) {
    CHECK(sys::set_capabilities(*process.capabilities));
    CHECK(sys::set_ambient(process.capabilities->ambient));
  }
  return filter_first ? Result<>() : load();
}

}  // namespace corten::runtime
