#include "ociruntime/lifecycle.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <chrono>

#include "ociruntime/console.h"
#include "ociruntime/fd_table.h"
#include "ociruntime/hooks.h"
#include "ociruntime/launch.h"
#include "runtime/compile.h"
#include "runtime/launch.h"
#include "sys/process.h"
#include "sys/unix_socket.h"

namespace corten::ociruntime {

namespace {

using namespace std::chrono_literals;

// The specification: a failed poststart hook is a warning, the container goes on.
void run_poststart(const oci::RuntimeSpec& spec, const StoredState& state) {
  if (!spec.hooks) return;
  if (const auto done = run_hooks(spec.hooks->poststart, "poststart", to_oci(state, Status::running)); !done)
    print_warnings({done.error().text()});
}

Result<> end_first_process(const StoredState& state) {
  const UniqueFd init = open_init(state);
  if (!init) return {};
  const auto sent = sys::pidfd_send_signal(init.get(), SIGKILL);
  if (!sent && sent.error().sys_errno() != ESRCH) return sent;
  // A frozen process of a v1 group takes no signal until it is thawed.
  if (const auto group = open_group(state); group && *group && group->frozen().value_or(false)) CHECK(group->thaw(1s));
  if (!TRY(sys::pidfd_wait_ended(init.get(), 10s)))
    return fail(ErrorKind::deadline, "process {} does not end after SIGKILL", state.pid);
  return {};
}

// Everything of a container whose first process has ended or is to be killed now.
Result<> remove_all(const Layout& layout, StateDirectory directory, const StoredState& state) {
  CHECK(end_first_process(state));
  auto group = TRY(open_group(state));
  if (group) {
    CHECK(group.kill_all(10s));
    CHECK(group.remove(5s));
  }
  const auto spec = load_spec(layout, state.id);
  directory.remove();
  if (spec && spec->hooks) {
    if (const auto done = run_hooks(spec->hooks->poststop, "poststop", to_oci(state, Status::stopped)); !done)
      print_warnings({done.error().text()});
  }
  return {};
}

}  // namespace

Result<> create(const Layout& layout, const LaunchOptions& options) {
  Launch launch(layout, options);
  CHECK(launch.prepare(true));
  if (launch.spec().process->terminal && options.console_socket.empty())
    return fail(ErrorKind::invalid, "cannot allocate tty if the container is detached without a console socket");
  CHECK(launch.publish());
  launch.keep();
  (void)launch.prepared().child.release();
  return {};
}

Result<> start(const Layout& layout, std::string_view id) {
  CHECK(check_id(id));
  const auto directory = TRY(StateDirectory::open(layout, id));
  const auto state = TRY(load(layout, id));
  const Status status = status_of(layout, state);
  if (status == Status::stopped) return fail(ErrorKind::conflict, "cannot start a container that has stopped");
  if (status != Status::created) return fail(ErrorKind::conflict, "cannot start an already running container");
  const auto spec = TRY(load_spec(layout, id));
  const auto socket_path = layout.start_socket(id);
  const auto connection = TRY_AS(sys::connect_unix(socket_path, sys::SocketType::seqpacket), "start");
  // Before the order to go on: nobody else can start it again, and `state` says "running" from here.
  if (::unlink(socket_path.c_str()) != 0) return sys_fail("remove {}", socket_path);
  CHECK(runtime::release_over(connection.get()));
  run_poststart(spec, state);
  return {};
}

Result<int> run(const Layout& layout, const LaunchOptions& options) {
  Launch launch(layout, options);
  CHECK(launch.prepare(false));
  CHECK(launch.publish());
  CHECK(runtime::release(launch.prepared()));
  launch.keep();
  run_poststart(launch.spec(), launch.state());
  if (options.detach) {
    (void)launch.prepared().child.release();
    return 0;
  }
  const StoredState state = launch.state();
  launch.unlock();
  UniqueFd console = options.console_socket.empty() ? std::move(launch.prepared().console) : UniqueFd();
  const int code = TRY(wait_in_foreground(std::move(launch.prepared().child), std::move(console)));
  if (options.keep) return code;
  auto directory = StateDirectory::open(layout, options.id);
  // Somebody may have deleted it meanwhile.
  if (directory) CHECK(remove_all(layout, std::move(*directory), state));
  return code;
}

Result<int> exec(const Layout& layout, const ExecOptions& options) {
  const auto state = TRY(load(layout, options.id));
  const Status status = status_of(layout, state);
  if (status == Status::stopped) return fail(ErrorKind::conflict, "cannot exec in a stopped container");
  if (status == Status::paused && !options.ignore_paused)
    return fail(ErrorKind::conflict, "cannot exec in a paused container (use --ignore-paused to override)");
  const UniqueFd init = open_init(state);
  if (!init) return fail(ErrorKind::conflict, "cannot exec in a stopped container");
  const auto spec = TRY(load_spec(layout, options.id));
  if (options.process.terminal && options.console_socket.empty() && options.detach)
    return fail(ErrorKind::invalid, "cannot allocate tty if the process is detached without a console socket");

  FdTable table;
  runtime::CompileOptions compile_options;
  compile_options.id = options.id;
  compile_options.bundle = state.bundle;
  compile_options.die_with_parent = !options.detach;
  compile_options.cgroup_path = state.cgroup_path;
  if (!options.process.terminal) {
    for (int fd = 0; fd < 3; ++fd) compile_options.stdio[static_cast<std::size_t>(fd)] = TRY(table.add_copy(fd));
  }
  const auto group = TRY(open_group(state));
  if (group) compile_options.cgroup = TRY(table.add_group(group));
  const auto host = TRY(runtime::detect_host());
  auto compiled = TRY(runtime::compile_exec(spec, options.process, host, compile_options));
  print_warnings(compiled.warnings);
  compiled.plan.process.extra_fds = TRY(table.add_preserved(options.preserve_fds));
  auto prepared = TRY(runtime::prepare_exec(compiled.plan, init.get(), table.fds()));
  if (!options.console_socket.empty()) CHECK(send_console(options.console_socket, prepared.console.get()));
  CHECK(write_pid_file(options.pid_file, prepared.child.pid()));
  CHECK(runtime::release(prepared));
  if (options.detach) {
    (void)prepared.child.release();
    return 0;
  }
  UniqueFd console = options.console_socket.empty() ? std::move(prepared.console) : UniqueFd();
  return wait_in_foreground(std::move(prepared.child), std::move(console));
}

Result<> kill(const Layout& layout, std::string_view id, int signal, bool all) {
  const auto state = TRY(load(layout, id));
  const UniqueFd init = open_init(state);
  const auto group = TRY(open_group(state));
  // Without a pid namespace of its own the death of the first process ends no other one.
  const bool everybody = all || (signal == SIGKILL && !state.own_pid_namespace);
  if (!init && !all) return fail(ErrorKind::conflict, "container not running");
  if (everybody && group) {
    if (signal == SIGKILL) return group.kill_all(10s);
    return group.signal_all(signal);
  }
  if (!init) return fail(ErrorKind::conflict, "container not running");
  CHECK(sys::pidfd_send_signal(init.get(), signal));
  if (signal == SIGKILL && group && group.frozen().value_or(false)) CHECK(group.thaw(1s));
  return {};
}

Result<> remove(const Layout& layout, std::string_view id, bool force) {
  CHECK(check_id(id));
  if (force) {
    // Before the lock: somebody may hold it who waits for this process.
    if (const auto state = load(layout, id)) CHECK(end_first_process(*state));
  }
  auto directory = StateDirectory::open(layout, id);
  if (!directory && directory.error().kind() == ErrorKind::not_found && force) return {};
  auto owned = TRY(std::move(directory));
  const auto state = load(layout, id);
  if (!state) {
    // A create that was killed half-way left a directory without a record.
    if (state.error().kind() != ErrorKind::not_found && !force) return std::unexpected(state.error());
    owned.remove();
    return force ? Result<>{} : std::unexpected(state.error());
  }
  const Status status = status_of(layout, *state);
  if (!force && status != Status::stopped && status != Status::created)
    return fail(ErrorKind::conflict, "cannot delete container {} that is not stopped: {}", id, to_string(status));
  return remove_all(layout, std::move(owned), *state);
}

Result<int> parse_signal(std::string_view text) {
  int number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error == std::errc{} && end == text.data() + text.size()) {
    if (number > 0 && number <= SIGRTMAX) return number;
    return fail(ErrorKind::invalid, "unknown signal \"{}\"", text);
  }
  std::string name(text);
  std::ranges::transform(name, name.begin(),
                         [](char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c; });
  if (name.starts_with("SIG")) name.erase(0, 3);
  for (int signal = 1; signal < SIGRTMIN; ++signal) {
    const char* abbreviation = ::sigabbrev_np(signal);
    if (abbreviation != nullptr && name == abbreviation) return signal;
  }
  for (const auto& [base, at] : {std::pair("RTMIN", SIGRTMIN), std::pair("RTMAX", SIGRTMAX)}) {
    if (!name.starts_with(base)) continue;
    int offset = 0;
    const std::string_view rest = std::string_view(name).substr(5);
    const auto digits = rest.starts_with('+') ? rest.substr(1) : rest;
    if (!digits.empty() &&
        std::from_chars(digits.data(), digits.data() + digits.size(), offset).ptr != digits.data() + digits.size())
      break;
    if (at + offset >= SIGRTMIN && at + offset <= SIGRTMAX) return at + offset;
  }
  return fail(ErrorKind::invalid, "unknown signal \"{}\"", text);
}

}  // namespace corten::ociruntime
