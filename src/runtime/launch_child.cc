#include "runtime/launch_child.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "runtime/launch_protocol.h"
#include "sys/beneath.h"
#include "sys/files.h"
#include "sys/namespaces.h"

namespace corten::runtime {
namespace {

using Step = Result<> (*)(Child&);

Result<> run_create_hooks(Child& child) {
  if (child.hooks_due) {
    CHECK(send(child.control, MessageType::hooks_due));
    const auto answer = TRY(receive(child.control));
    if (answer.end || answer.type != MessageType::proceed) ::_exit(1);
  }
  return run_hooks(child, child.launch->create_container_hooks, child.launch->create_state);
}

Result<> run_start_hooks(Child& child) {
  return run_hooks(child, child.launch->start_container_hooks, child.launch->start_state);
}

Result<> make_working_directory(Child& child) {
  if (!child.process.make_cwd) return {};
  // Best effort: what is there already, or cannot be made, is judged when it is entered.
  (void)sys::make_directories_beneath(child.root.get(), child.process.cwd);
  return {};
}

// `create` and `start` of the OCI command line are two programs: the second one connects to us.
Result<> accept_starter(Child& child) {
  const int listener = child.fd(child.launch->start_listener);
  UniqueFd connection;
  do {
    connection = UniqueFd(::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC));
  } while (!connection && errno == EINTR);
  if (!connection) return sys_fail("wait for the order to start");
  // The number stays for the rest of our short life; exec closes it.
  child.control = connection.release();
  return {};
}

Result<> wait_for_release(Child& child) {
  CHECK(send(child.control, MessageType::prepared));
  if (child.launch != nullptr && child.launch->start_listener != no_fd) CHECK(accept_starter(child));
  const auto order = TRY(receive(child.control));
  if (order.end) ::_exit(1);
  if (order.type != MessageType::release) return fail(ErrorKind::internal, "start protocol: not the order to start");
  // An order that was given early may have outlived the parent, which can have ended before we asked for its death
  // signal.
  char nothing = 0;
  if (child.process.die_with_parent && ::recv(child.control, &nothing, 1, MSG_PEEK | MSG_DONTWAIT) == 0) ::_exit(1);
  return {};
}

Result<> join_target(Child& child) {
  // The pid namespace was joined by our parent, for us to be born into it.
  const auto flags = child.exec->namespaces & ~std::uint64_t{CLONE_NEWPID};
  if (flags != 0) CHECK(sys::join_namespaces_of(child.target, flags));
  if (child.new_user_namespace && (::setresgid(0, 0, 0) != 0 || ::setresuid(0, 0, 0) != 0))
    return sys_fail("become root of the user namespace");
  if (child.new_user_namespace) {
    // Whatever fs.suid_dumpable makes of the change: we stay hidden.
    if (::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) return sys_fail("prctl dumpable");
    CHECK(die_with_parent(child));
  }
  child.root = TRY(sys::open_file("/", O_PATH | O_DIRECTORY));
  return {};
}

// The whole life of a first process before its own program.
constexpr Step launch_steps[] = {
    // on the host
    reset_signals, die_with_parent, enter_cgroups, set_oom_score, join_listed_namespaces, wait_for_go,
    make_late_namespaces,
    // in our mount namespace, still with the host's root
    attach_root, make_mounts, make_devices, make_null_mask, make_console, run_create_hooks,
    // inside
    enter_root, set_host_names, write_sysctls, make_working_directory, make_paths_read_only, mask_paths,
    make_root_read_only,
    // the process itself
    join_session_keyring, set_scheduling, place_stdio, set_security_labels, enter_working_directory, become_user,
    enter_working_directory, find_program,
    // all but exec is done
    wait_for_release, run_start_hooks, place_extra_descriptors, set_limits, drop_privileges, run_program};

constexpr Step exec_steps[] = {reset_signals,
                               die_with_parent,
                               enter_cgroups,
                               set_oom_score,
                               join_target,
                               make_console,
                               join_session_keyring,
                               set_scheduling,
                               place_stdio,
                               set_security_labels,
                               enter_working_directory,
                               become_user,
                               enter_working_directory,
                               find_program,
                               wait_for_release,
                               place_extra_descriptors,
                               set_limits,
                               drop_privileges,
                               run_program};

[[noreturn]] void run(Child& child, std::span<const Step> steps) {
  for (const auto step : steps)
    if (auto result = step(child); !result) {
      (void)send_failed(child.control, result.error());
      break;
    }
  ::_exit(1);
}

}  // namespace

void run_launch_child(Child& child) { run(child, launch_steps); }
void run_exec_child(Child& child) { run(child, exec_steps); }

}  // namespace corten::runtime
