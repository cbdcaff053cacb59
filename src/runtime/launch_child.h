// The child's side of a launch: from clone to exec, as lists of named steps. Private to runtime/launch*.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/unique_fd.h"
#include "runtime/launch_plan.h"

namespace corten::runtime {

// What the parent opened on the host before the child exists, by position in the plan.
struct LaunchSources {
  UniqueFd root;                                 // detached, private
  std::vector<UniqueFd> binds;                   // per mount: detached, attributes set; empty for mounts of other kinds
  std::vector<UniqueFd> devices;                 // per device, only with a user namespace: the host's node
  std::vector<UniqueFd> cgroups;                 // open cgroup.procs files of v1 trees
  std::array<UniqueFd, namespace_kinds> joined;  // namespaces that the child joins itself
  UniqueFd null_device;                          // with a user namespace: /dev/null of the host, read and write
};

// State of the steps. The plan's parts that launch and exec share are in `process`.
struct Child {
  const ProcessPlan& process;
  std::span<const UniqueFd> fds;
  LaunchSources& sources;
  int control = -1;
  const LaunchPlan* launch = nullptr;  // null in an exec
  const ExecPlan* exec = nullptr;
  bool new_user_namespace = false;
  bool wait_for_parent = false;  // the parent has maps to write, or the pid to tell
  bool hooks_due = false;        // the parent wants to know before pivot_root
  int target = -1;               // exec: pid descriptor of the process to join
  // Our own program file, which must not be run inside.
  std::uint64_t own_device = 0;
  std::uint64_t own_inode = 0;

  std::int32_t host_pid = 0;
  UniqueFd root;  // the container's root mount
  UniqueFd
      proc;  // our own mounts at /proc, /dev, /dev/pts: descriptors of the mounts themselves, not looked up by name
  UniqueFd dev;
  UniqueFd devpts;
  UniqueFd null_mask;   // the null device as a detached mount, to cover files with
  UniqueFd terminal;    // slave side
  std::string program;  // argv[0] as found
  bool in_working_directory = false;
  bool is_user = false;

  int fd(FdSlot slot) const { return fds[static_cast<std::size_t>(slot)].get(); }
  bool creates(NamespaceKind kind) const {
    return launch != nullptr && launch->namespaces[static_cast<std::size_t>(kind)].mode == NamespaceMode::create;
  }
};

// Never returns: ends in the container's program or in _exit after telling the parent why.
[[noreturn]] void run_launch_child(Child& child);
[[noreturn]] void run_exec_child(Child& child);

// The steps, by file. Each error says what was done on what.
// launch_mounts.cc
Result<> attach_root(Child& child);
Result<> make_mounts(Child& child);
// launch_devices.cc
Result<> make_devices(Child& child);
Result<> make_console(Child& child);
Result<> make_null_mask(Child& child);
bool is_null_device(int fd);
// launch_root.cc
Result<> enter_root(Child& child);
Result<> make_root_read_only(Child& child);
// launch_protect.cc
Result<> write_sysctls(Child& child);
Result<> make_paths_read_only(Child& child);
Result<> mask_paths(Child& child);
// launch_namespaces.cc
Result<> enter_cgroups(Child& child);
Result<> wait_for_go(Child& child);
Result<> join_listed_namespaces(Child& child);
Result<> make_late_namespaces(Child& child);
Result<> set_host_names(Child& child);
// launch_identity.cc
Result<> reset_signals(Child& child);
Result<> die_with_parent(Child& child);
Result<> set_oom_score(Child& child);
Result<> join_session_keyring(Child& child);
Result<> set_scheduling(Child& child);
Result<> set_limits(Child& child);
Result<> set_security_labels(Child& child);
Result<> enter_working_directory(Child& child);
Result<> become_user(Child& child);
Result<> drop_privileges(Child& child);
// launch_stdio.cc
Result<> place_stdio(Child& child);
Result<> place_extra_descriptors(Child& child);
// launch_program.cc
Result<> find_program(Child& child);
Result<> run_program(Child& child);  // returns only on failure
// launch_hooks.cc
Result<> run_hooks(Child& child, const std::vector<HookPlan>& hooks, const std::string& state);

}  // namespace corten::runtime
