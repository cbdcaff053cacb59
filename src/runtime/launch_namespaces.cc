// Control groups and namespaces, as far as the child sees to them itself.
#include <fcntl.h>
#include <sched.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "runtime/launch_child.h"
#include "runtime/launch_protocol.h"
#include "sys/files.h"
#include "sys/namespaces.h"

namespace corten::runtime {
namespace {

constexpr std::uint64_t clone_flag_of(NamespaceKind kind) {
  switch (kind) {
    case NamespaceKind::user: return CLONE_NEWUSER;
    case NamespaceKind::mount: return CLONE_NEWNS;
    case NamespaceKind::pid: return CLONE_NEWPID;
    case NamespaceKind::network: return CLONE_NEWNET;
    case NamespaceKind::ipc: return CLONE_NEWIPC;
    case NamespaceKind::uts: return CLONE_NEWUTS;
    case NamespaceKind::cgroup: return CLONE_NEWCGROUP;
    case NamespaceKind::time: return CLONE_NEWTIME;
  }
  return 0;
}

Result<> new_time_namespace(const LaunchPlan& plan) {
  if (::unshare(CLONE_NEWTIME) != 0) return sys_fail("new time namespace");
  for (const auto& offset : plan.time_offsets)
    CHECK_AS(sys::write_existing("/proc/self/timens_offsets",
                                 fmt::format("{} {} {}\n", offset.clock, offset.seconds, offset.nanoseconds)),
             "time offset");
  // unshare is for children only; kernels before 6.3 do not enter it on exec either.
  const auto fd = TRY(sys::open_file("/proc/self/ns/time_for_children", O_RDONLY));
  return sys::join_namespace(fd.get(), CLONE_NEWTIME);
}

}  // namespace

Result<> enter_cgroups(Child& child) {
  // "0" is the writer himself, whatever his number is in which pid namespace. The files were opened by the parent: its
  // rights count.
  for (auto& procs : child.sources.cgroups) {
    if (::write(procs.get(), "0", 1) != 1) return sys_fail("enter the control group");
    procs.reset();
  }
  return {};
}

Result<> wait_for_go(Child& child) {
  if (!child.wait_for_parent) return {};
  const auto message = TRY(receive(child.control));
  if (message.end) ::_exit(1);
  if (message.type != MessageType::proceed)
    return fail(ErrorKind::internal, "start protocol: not the order to proceed");
  child.host_pid = message.number;
  if (!child.new_user_namespace) return {};
  // The maps are there: from here on files that we make belong to the container's root.
  if (::setresgid(0, 0, 0) != 0 || ::setresuid(0, 0, 0) != 0) return sys_fail("become root of the user namespace");
  // The change of identity took away the right to our own /proc files and the parent's death signal. In a user
  // namespace that others are in already it stays so: they could look into our program.
  const int dumpable = child.creates(NamespaceKind::user) ? 1 : 0;
  if (::prctl(PR_SET_DUMPABLE, dumpable, 0, 0, 0) != 0) return sys_fail("prctl dumpable");
  return die_with_parent(child);
}

Result<> join_listed_namespaces(Child& child) {
  for (std::size_t i = 0; i < namespace_kinds; ++i)
    if (auto& fd = child.sources.joined[i]) {
      CHECK(sys::join_namespace(fd.get(), clone_flag_of(static_cast<NamespaceKind>(i))));
      fd.reset();
    }
  return {};
}

// After the move into the control group: the root of a cgroup namespace is where its maker is.
Result<> make_late_namespaces(Child& child) {
  if (child.creates(NamespaceKind::cgroup) && ::unshare(CLONE_NEWCGROUP) != 0) return sys_fail("new cgroup namespace");
  if (child.creates(NamespaceKind::time)) CHECK(new_time_namespace(*child.launch));
  return {};
}

Result<> set_host_names(Child& child) {
  const auto& plan = *child.launch;
  if (!plan.hostname.empty() && ::sethostname(plan.hostname.data(), plan.hostname.size()) != 0)
    return sys_fail("set the host name to {}", plan.hostname);
  if (!plan.domainname.empty() && ::setdomainname(plan.domainname.data(), plan.domainname.size()) != 0)
    return sys_fail("set the domain name to {}", plan.domainname);
  return {};
}

}  // namespace corten::runtime
