#include <sched.h>

#include <algorithm>
#include <array>

#include "runtime/compile_parts.h"
#include "sys/rlimit.h"

namespace corten::runtime {
namespace {

constexpr std::uint32_t no_id = 0xffffffff;  // to the kernel: "leave it as it is"

Result<> compile_user(const oci::Process& process, ProcessPlan& plan) {
  plan.uid = process.user.uid;
  plan.gid = process.user.gid;
  plan.groups = process.user.additional_gids;
  plan.umask = process.user.umask;
  const bool bad_group = std::ranges::find(plan.groups, no_id) != plan.groups.end();
  if (plan.uid == no_id || plan.gid == no_id || bad_group)
    return fail(ErrorKind::invalid, "process.user: {} is not an id", no_id);
  if (plan.groups.size() > 65536) return fail(ErrorKind::invalid, "process.user: more than 65536 groups");
  if (plan.umask && *plan.umask > 0777)
    return fail(ErrorKind::invalid, "process.user.umask: {} is not a mask", *plan.umask);
  return {};
}

sys::CapabilityMask mask_of(Compilation& work, const std::vector<std::string>& names, sys::CapabilityMask allowed) {
  sys::CapabilityMask mask = 0;
  for (const auto& name : names) {
    const auto bit = sys::capability_from_name(name);
    const bool usable = bit && (allowed & sys::capability_bit(*bit)) != 0;
    if (usable)
      mask |= sys::capability_bit(*bit);
    else if (std::string text =
                 fmt::format("capability {} cannot be given: the daemon or the kernel does not have it", name);
             std::ranges::find(work.warnings, text) == work.warnings.end())
      work.warn(text);
  }
  return mask;
}

Result<> compile_capabilities(Compilation& work, const oci::Process& process, ProcessPlan& plan) {
  if (!process.capabilities) {
    // runtime-spec: no field, no capabilities asked for: the process has none.
    plan.capabilities = sys::CapabilitySets{};
    return {};
  }
  const auto& given = *process.capabilities;
  const auto allowed = work.grantable;
  sys::CapabilitySets sets;
  sets.bounding = mask_of(work, given.bounding, allowed);
  sets.permitted = mask_of(work, given.permitted, allowed);
  sets.effective = mask_of(work, given.effective, allowed);
  sets.inheritable = mask_of(work, given.inheritable, allowed);
  sets.ambient = mask_of(work, given.ambient, allowed);
  if ((sets.effective & ~sets.permitted) != 0)
    return fail(ErrorKind::invalid, "process.capabilities: effective has what permitted has not");
  if ((sets.ambient & ~(sets.permitted & sets.inheritable)) != 0) {
    work.warn("ambient capabilities that are not both permitted and inheritable are left out");
    sets.ambient &= sets.permitted & sets.inheritable;
  }
  plan.capabilities = sets;
  return {};
}

Result<> compile_rlimits(Compilation& work, const oci::Process& process, ProcessPlan& plan) {
  for (const auto& limit : process.rlimits) {
    const int resource = TRY_AS(sys::rlimit_from_name(limit.type), "process.rlimits");
    const auto index = static_cast<std::size_t>(resource);
    if (limit.soft > limit.hard)
      return fail(ErrorKind::invalid, "ulimit {}: the soft limit {} is above the hard limit {}", limit.type, limit.soft,
                  limit.hard);
    if (std::ranges::find(plan.rlimits, resource, &RlimitPlan::resource) != plan.rlimits.end())
      return fail(ErrorKind::invalid, "process.rlimits: {} is there twice", limit.type);
    RlimitPlan value{resource, limit.soft, limit.hard};
    const auto ours = work.host.rlimits[index].hard;
    if (!work.host.can_raise_limits && value.hard > ours) {
      work.warn(
          fmt::format("ulimit {}={}:{} is above the daemon's own hard limit and cannot be raised without "
                      "CAP_SYS_RESOURCE: {} is used",
                      limit.type, limit.soft, limit.hard, ours));
      value.hard = ours;
      value.soft = std::min(value.soft, ours);
    }
    plan.rlimits.push_back(value);
  }
  return {};
}

Result<> compile_oom_score(Compilation& work, const oci::Process& process, ProcessPlan& plan) {
  if (!process.oom_score_adj) return {};
  const int wanted = *process.oom_score_adj;
  if (wanted < -1000 || wanted > 1000)
    return fail(ErrorKind::invalid, "invalid value {}, range for oom score adj is [-1000, 1000]", wanted);
  plan.oom_score_adj = wanted;
  if (wanted >= work.host.own_oom_score_adj || work.host.can_raise_limits) return {};
  work.warn(fmt::format(
      "oom_score_adj {} is below the daemon's own {} and cannot be lowered without CAP_SYS_RESOURCE: {} is used",
      wanted, work.host.own_oom_score_adj, work.host.own_oom_score_adj));
  plan.oom_score_adj = work.host.own_oom_score_adj;
  return {};
}

struct NamedNumber {
  std::string_view name;
  std::uint64_t value;
};

template <std::size_t Count>
Result<std::uint64_t> look_up(const std::array<NamedNumber, Count>& table, std::string_view name,
                              std::string_view field) {
  const auto found = std::ranges::find(table, name, &NamedNumber::name);
  if (found == table.end()) return fail(ErrorKind::invalid, "process.{}: there is no \"{}\"", field, name);
  return found->value;
}

Result<> compile_io_priority(const oci::Process& process, ProcessPlan& plan) {
  static constexpr std::array classes{NamedNumber{"IOPRIO_CLASS_RT", 1}, NamedNumber{"IOPRIO_CLASS_BE", 2},
                                      NamedNumber{"IOPRIO_CLASS_IDLE", 3}};
  if (!process.io_priority) return {};
  const auto io_class = TRY(look_up(classes, process.io_priority->io_class, "ioPriority.class"));
  const int priority = process.io_priority->priority;
  if (priority < 0 || priority > 7)
    return fail(ErrorKind::invalid, "process.ioPriority.priority: {} is not 0 to 7", priority);
  plan.io_priority = static_cast<std::uint32_t>(io_class << 13 | static_cast<unsigned>(priority));
  return {};
}

Result<> compile_scheduler(const oci::Process& process, ProcessPlan& plan) {
  static constexpr std::array policies{NamedNumber{"SCHED_OTHER", 0}, NamedNumber{"SCHED_FIFO", 1},
                                       NamedNumber{"SCHED_RR", 2},    NamedNumber{"SCHED_BATCH", 3},
                                       NamedNumber{"SCHED_IDLE", 5},  NamedNumber{"SCHED_DEADLINE", 6}};
  static constexpr std::array flags{
      NamedNumber{"SCHED_FLAG_RESET_ON_FORK", 1},  NamedNumber{"SCHED_FLAG_RECLAIM", 2},
      NamedNumber{"SCHED_FLAG_DL_OVERRUN", 4},     NamedNumber{"SCHED_FLAG_KEEP_POLICY", 8},
      NamedNumber{"SCHED_FLAG_KEEP_PARAMS", 16},   NamedNumber{"SCHED_FLAG_UTIL_CLAMP_MIN", 32},
      NamedNumber{"SCHED_FLAG_UTIL_CLAMP_MAX", 64}};
  if (!process.scheduler) return {};
  const auto& given = *process.scheduler;
  SchedulerPlan scheduler;
  scheduler.policy = static_cast<std::uint32_t>(TRY(look_up(policies, given.policy, "scheduler.policy")));
  for (const auto& flag : given.flags) scheduler.flags |= TRY(look_up(flags, flag, "scheduler.flags"));
  if (given.nice < -20 || given.nice > 19)
    return fail(ErrorKind::invalid, "process.scheduler.nice: {} is not -20 to 19", given.nice);
  scheduler.nice = given.nice;
  scheduler.priority = static_cast<std::uint32_t>(given.priority);
  scheduler.runtime = given.runtime;
  scheduler.deadline = given.deadline;
  scheduler.period = given.period;
  plan.scheduler = scheduler;
  return {};
}

Result<> check_texts(const ProcessPlan& plan) {
  const auto has_nul = [](const std::string& text) { return text.find('\0') != std::string::npos; };
  if (std::ranges::any_of(plan.args, has_nul)) return fail(ErrorKind::invalid, "process.args: NUL byte in an argument");
  if (std::ranges::any_of(plan.env, has_nul)) return fail(ErrorKind::invalid, "process.env: NUL byte in a variable");
  if (plan.args.empty() || plan.args.front().empty()) return fail(ErrorKind::invalid, "no command specified");
  if (!plan.cwd.starts_with('/'))
    return fail(ErrorKind::invalid, "the working directory '{}' is invalid, it needs to be an absolute path", plan.cwd);
  return {};
}

void compile_labels(Compilation& work, const oci::Process& process, ProcessPlan& plan) {
  if (work.host.apparmor)
    plan.apparmor_profile = process.apparmor_profile == "unconfined" ? "" : process.apparmor_profile;
  else if (!process.apparmor_profile.empty() && process.apparmor_profile != "unconfined")
    work.warn("AppArmor is not enabled on this machine: profile " + process.apparmor_profile + " is not applied");
  if (work.host.selinux)
    plan.selinux_label = process.selinux_label;
  else if (!process.selinux_label.empty())
    work.warn("SELinux is not enabled on this machine: label " + process.selinux_label + " is not applied");
}

}  // namespace

Result<> compile_process(Compilation& work, const oci::Process& process, ProcessPlan& plan) {
  plan.args = process.args;
  plan.env = process.env;
  plan.cwd = process.cwd.empty() ? "/" : process.cwd;
  plan.terminal = process.terminal;
  plan.no_new_privileges = process.no_new_privileges;
  plan.stdio = work.options.stdio;
  plan.die_with_parent = work.options.die_with_parent;
  if (process.console_size) {
    plan.rows = static_cast<std::uint16_t>(std::min<std::uint64_t>(process.console_size->height, 0xffff));
    plan.columns = static_cast<std::uint16_t>(std::min<std::uint64_t>(process.console_size->width, 0xffff));
  }
  if (process.exec_cpu_affinity)
    plan.cpu_affinity = process.exec_cpu_affinity->final.empty() ? process.exec_cpu_affinity->initial
                                                                 : process.exec_cpu_affinity->final;
  CHECK(check_texts(plan));
  CHECK(compile_user(process, plan));
  CHECK(compile_capabilities(work, process, plan));
  CHECK(compile_rlimits(work, process, plan));
  CHECK(compile_oom_score(work, process, plan));
  CHECK(compile_io_priority(process, plan));
  CHECK(compile_scheduler(process, plan));
  compile_labels(work, process, plan);
  return {};
}

}  // namespace corten::runtime
