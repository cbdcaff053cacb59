// The parent's side: opens what the child needs from the host, clones it, writes its maps, and talks to it until it
// runs its program.
#include "runtime/launch.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "runtime/launch_child.h"
#include "runtime/launch_protocol.h"
#include "runtime/launch_sources.h"
#include "sys/files.h"
#include "sys/namespaces.h"
#include "sys/unix_socket.h"

namespace corten::runtime {
namespace {

struct KindFlag {
  NamespaceKind kind;
  std::uint64_t flag;
};
// cgroup and time are not here: their namespaces are made by the child, after it has moved.
constexpr KindFlag clone_flags[] = {{NamespaceKind::user, CLONE_NEWUSER}, {NamespaceKind::mount, CLONE_NEWNS},
                                    {NamespaceKind::pid, CLONE_NEWPID},   {NamespaceKind::network, CLONE_NEWNET},
                                    {NamespaceKind::ipc, CLONE_NEWIPC},   {NamespaceKind::uts, CLONE_NEWUTS}};
constexpr KindFlag joinable[] = {{NamespaceKind::pid, CLONE_NEWPID},       {NamespaceKind::network, CLONE_NEWNET},
                                 {NamespaceKind::ipc, CLONE_NEWIPC},       {NamespaceKind::uts, CLONE_NEWUTS},
                                 {NamespaceKind::cgroup, CLONE_NEWCGROUP}, {NamespaceKind::time, CLONE_NEWTIME}};

const NamespacePlan& plan_of(const LaunchPlan& plan, NamespaceKind kind) {
  return plan.namespaces[static_cast<std::size_t>(kind)];
}

// Namespaces that the parent itself visits so that its child is born into them: a pid namespace can be entered in no
// other way, and before a child has a user namespace of its own is the only time it has the right to join others.
class Visit {
 public:
  Visit() = default;
  Visit(const Visit&) = delete;
  Visit& operator=(const Visit&) = delete;
  ~Visit() {
    // Staying would put our next child into the wrong namespace; a descriptor of our own namespace can always be
    // joined.
    if (!leave()) ::abort();
  }

  Result<> enter(int fd, std::uint64_t flag) {
    auto home = TRY(sys::open_own_namespace(flag));
    CHECK(sys::join_namespace(fd, flag));
    visited_.push_back({std::move(home), flag});
    return {};
  }
  Result<> leave() {
    while (!visited_.empty()) {
      CHECK(sys::join_namespace(visited_.back().home.get(), visited_.back().flag));
      visited_.pop_back();
    }
    return {};
  }

 private:
  struct Visited {
    UniqueFd home;
    std::uint64_t flag;
  };
  std::vector<Visited> visited_;
};

// A child that others can see from its first moment on, because it is born into their pid or user namespace, is a copy
// of us that nobody with rights only there may trace or look into (CVE-2016-9962).
class HiddenClone {
 public:
  explicit HiddenClone(bool wanted) : restore_(wanted && ::prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 1) {
    if (restore_) (void)::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
  }
  HiddenClone(const HiddenClone&) = delete;
  HiddenClone& operator=(const HiddenClone&) = delete;
  ~HiddenClone() {
    if (restore_) (void)::prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
  }

 private:
  bool restore_;
};

Result<> plan_joins(const LaunchPlan& plan, std::span<const UniqueFd> fds, bool new_user, LaunchSources& sources,
                    Visit& visit) {
  for (const auto& [kind, flag] : joinable) {
    const auto& ns = plan_of(plan, kind);
    if (ns.mode != NamespaceMode::join) continue;
    auto fd = TRY_AS(open_joined(ns, fds), fmt::format("{} namespace", sys::namespace_name(flag)));
    if (kind == NamespaceKind::pid || new_user)
      CHECK(visit.enter(fd.get(), flag));
    else
      sources.joined[static_cast<std::size_t>(kind)] = std::move(fd);
  }
  return {};
}

// A process in an existing user namespace whose other namespaces belong to that one: a helper joins it and clones for
// us.
Result<sys::Cloned> clone_inside_user_namespace(sys::CloneRequest request, int user_namespace) {
  auto [ours, theirs] = TRY(sys::socket_pair());
  auto helper = TRY(sys::clone_process({.cgroup = request.cgroup}));
  if (helper.pid == 0) {
    request.flags |= CLONE_PARENT;
    request.cgroup = -1;  // it is there already
    if (auto joined = sys::join_namespace(user_namespace, CLONE_NEWUSER); !joined) {
      (void)send_failed(theirs.get(), joined.error());
      ::_exit(1);
    }
    auto inner = sys::clone_process(request);
    if (inner && inner->pid == 0) return inner;
    if (inner)
      (void)send(theirs.get(), MessageType::proceed, 0, {}, inner->pidfd.get());
    else
      (void)send_failed(theirs.get(), inner.error());
    ::_exit(0);
  }
  const sys::ChildProcess reaped_at_end(helper.pid, std::move(helper.pidfd));
  theirs.reset();
  auto message = TRY(receive(ours.get()));
  if (message.type == MessageType::failed) return std::unexpected(error_of(std::move(message)));
  if (message.end || !message.fd) return fail(ErrorKind::internal, "clone in the user namespace: the helper ended");
  // The helper may be in another pid namespace, where the process has another number.
  const pid_t pid = TRY(sys::pidfd_pid(message.fd.get()));
  return sys::Cloned{pid, std::move(message.fd)};
}

// Which program we are, so that the child can refuse to run it inside.
void note_own_program(Child& child) {
  struct stat status{};
  if (::stat("/proc/self/exe", &status) != 0) return;
  child.own_device = status.st_dev;
  child.own_inode = status.st_ino;
}

Error ended_early(PreparedProcess& process) {
  auto status = process.child.wait();
  if (!status) return std::move(status).error();
  return Error(ErrorKind::internal,
               status->signal != 0
                   ? fmt::format("the process was killed by signal {} before it ran its program", status->signal)
                   : std::string("the process ended before it ran its program"));
}

std::unexpected<Error> give_up(PreparedProcess& process, Error error) {
  process.child = {};
  process.control.reset();
  return std::unexpected(std::move(error));
}

enum class Until : std::uint8_t { prepared, running };

// Takes the child's messages until it is `prepared`, or runs its program (end of file).
Result<> converse(PreparedProcess& process, Until until, const PrepareHooks& hooks) {
  while (true) {
    auto message = receive(process.control.get());
    if (!message) return give_up(process, std::move(message).error());
    if (message->end) {
      if (until == Until::prepared) return std::unexpected(ended_early(process));
      process.control.reset();
      return {};
    }
    switch (message->type) {
      case MessageType::failed: return give_up(process, error_of(std::move(*message)));
      case MessageType::warning: process.warnings.push_back(std::move(message->text)); break;
      case MessageType::console: process.console = std::move(message->fd); break;
      case MessageType::listener: process.seccomp_listener = std::move(message->fd); break;
      case MessageType::hooks_due:
        if (auto done = hooks.before_pivot(process.child.pid()); !done)
          return give_up(process, std::move(done).error());
        CHECK(send(process.control.get(), MessageType::proceed));
        break;
      case MessageType::prepared:
        if (until == Until::prepared) return {};
        break;
      case MessageType::proceed:
      case MessageType::release:
        return give_up(process, Error(ErrorKind::internal, "start protocol: the child gives orders"));
    }
  }
}

// What only the parent has the right to write.
Result<> set_up_from_parent(const LaunchPlan& plan, const Child& child, PreparedProcess& process) {
  const pid_t pid = process.child.pid();
  if (plan_of(plan, NamespaceKind::user).mode == NamespaceMode::create) {
    std::vector<sys::IdRange> uids;
    std::vector<sys::IdRange> gids;
    for (const auto& map : plan.uid_maps) uids.push_back({map.container_id, map.host_id, map.size});
    for (const auto& map : plan.gid_maps) gids.push_back({map.container_id, map.host_id, map.size});
    CHECK(sys::write_id_maps(pid, uids, gids));
  }
  if (child.new_user_namespace && plan.process.oom_score_adj)
    CHECK_AS(
        sys::write_existing(fmt::format("/proc/{}/oom_score_adj", pid), fmt::format("{}", *plan.process.oom_score_adj)),
        "oom_score_adj");
  if (child.wait_for_parent) CHECK(send(process.control.get(), MessageType::proceed, pid));
  return {};
}

Result<PreparedProcess> start(const LaunchPlan& plan, std::span<const UniqueFd> fds, const PrepareHooks& hooks,
                              Until until) {
  CHECK(check_plan(plan, fds.size()));
  auto sources = TRY(open_sources(plan, fds));
  const bool new_user = plan_of(plan, NamespaceKind::user).mode != NamespaceMode::inherit;
  Child child{plan.process, fds, sources};
  child.launch = &plan;
  child.new_user_namespace = new_user;
  child.hooks_due = static_cast<bool>(hooks.before_pivot);
  child.wait_for_parent = new_user || !plan.create_container_hooks.empty() || !plan.start_container_hooks.empty();
  note_own_program(child);

  sys::CloneRequest request;
  for (const auto& [kind, flag] : clone_flags)
    if (plan_of(plan, kind).mode == NamespaceMode::create) request.flags |= flag;
  if (plan.cgroup.v2_directory != no_fd) request.cgroup = child.fd(plan.cgroup.v2_directory);

  auto [ours, theirs] = TRY(sys::socket_pair());
  sys::Cloned cloned;
  {
    Visit visit;
    CHECK(plan_joins(plan, fds, new_user, sources, visit));
    const HiddenClone hidden(plan_of(plan, NamespaceKind::pid).mode == NamespaceMode::join ||
                             plan_of(plan, NamespaceKind::user).mode == NamespaceMode::join);
    if (plan_of(plan, NamespaceKind::user).mode == NamespaceMode::join) {
      const auto user = TRY_AS(open_joined(plan_of(plan, NamespaceKind::user), fds), "user namespace");
      cloned = TRY(clone_inside_user_namespace(request, user.get()));
    } else {
      cloned = TRY(sys::clone_process(request));
    }
    if (cloned.pid == 0) {
      ours.reset();
      child.control = theirs.release();
      run_launch_child(child);
    }
  }
  PreparedProcess process;
  process.child = sys::ChildProcess(cloned.pid, std::move(cloned.pidfd));
  process.control = std::move(ours);
  theirs.reset();
  CHECK(set_up_from_parent(plan, child, process));
  // A child that failed has said why before it ended: that is what the conversation finds.
  if (until == Until::running) (void)send(process.control.get(), MessageType::release);
  CHECK(converse(process, until, hooks));
  return process;
}

Result<PreparedProcess> start_exec(const ExecPlan& plan, int target, std::span<const UniqueFd> fds, Until until) {
  CHECK(check_plan(plan, fds.size()));
  auto sources = TRY(open_sources(plan, fds));
  Child child{plan.process, fds, sources};
  child.exec = &plan;
  child.target = target;
  child.new_user_namespace = (plan.namespaces & CLONE_NEWUSER) != 0;
  note_own_program(child);
  sys::CloneRequest request;
  if (plan.cgroup.v2_directory != no_fd) request.cgroup = child.fd(plan.cgroup.v2_directory);

  auto [ours, theirs] = TRY(sys::socket_pair());
  sys::Cloned cloned;
  {
    Visit visit;
    if ((plan.namespaces & CLONE_NEWPID) != 0) CHECK(visit.enter(target, CLONE_NEWPID));
    const HiddenClone hidden(true);
    cloned = TRY(sys::clone_process(request));
    if (cloned.pid == 0) {
      ours.reset();
      child.control = theirs.release();
      run_exec_child(child);
    }
  }
  PreparedProcess process;
  process.child = sys::ChildProcess(cloned.pid, std::move(cloned.pidfd));
  process.control = std::move(ours);
  theirs.reset();
  if (until == Until::running) (void)send(process.control.get(), MessageType::release);
  CHECK(converse(process, until, {}));
  return process;
}

}  // namespace

Result<PreparedProcess> prepare(const LaunchPlan& plan, std::span<const UniqueFd> fds, const PrepareHooks& hooks) {
  return start(plan, fds, hooks, Until::prepared);
}

Result<PreparedProcess> launch(const LaunchPlan& plan, std::span<const UniqueFd> fds) {
  return start(plan, fds, {}, Until::running);
}

Result<PreparedProcess> prepare_exec(const ExecPlan& plan, int target, std::span<const UniqueFd> fds) {
  return start_exec(plan, target, fds, Until::prepared);
}

Result<PreparedProcess> launch_exec(const ExecPlan& plan, int target, std::span<const UniqueFd> fds) {
  return start_exec(plan, target, fds, Until::running);
}

Result<> release(PreparedProcess& process) {
  (void)send(process.control.get(), MessageType::release);
  return converse(process, Until::running, {});
}

Result<> release_over(int connection) {
  CHECK(send(connection, MessageType::release));
  while (true) {
    auto message = TRY(receive(connection));
    if (message.end) return {};
    if (message.type == MessageType::failed) return std::unexpected(error_of(std::move(message)));
  }
}

int exec_exit_code(const Error& error) {
  const bool is_exec =
      error.text().find("exec: \"") != std::string::npos || error.text().find("exec /") != std::string::npos;
  if (!is_exec) return 128;
  return error.kind() == ErrorKind::not_found ? 127 : 126;
}

}  // namespace corten::runtime
