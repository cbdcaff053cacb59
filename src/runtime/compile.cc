#include "runtime/compile.h"

#include <sched.h>
#include <sys/mount.h>
#include <sys/personality.h>

#include <limits>

#include "runtime/compile_parts.h"
#include "runtime/seccomp_compile.h"
#include "sys/namespaces.h"

namespace corten::runtime {
namespace {

Result<> compile_seccomp_part(Compilation& work, const oci::RuntimeSpec& spec, ProcessPlan& plan) {
  if (!spec.linux_config || !spec.linux_config->seccomp) return {};
  if (!work.host.seccomp) {
    work.warn("this kernel has no seccomp: the container runs without a filter");
    return {};
  }
  if (!spec.linux_config->seccomp->listener_path.empty())
    return fail(ErrorKind::not_implemented,
                "linux.seccomp.listenerPath is not supported: use a profile without SCMP_ACT_NOTIFY");
  const auto program = TRY(work.host.seccomp_cache->compile(*spec.linux_config->seccomp));
  plan.seccomp = program->filter;
  plan.seccomp_flags = program->flags;
  return {};
}

Result<> compile_personality(const oci::Linux& config, ProcessPlan& plan) {
  if (!config.personality) return {};
  if (!config.personality->flags.empty()) return fail(ErrorKind::invalid, "linux.personality.flags: none is known");
  if (config.personality->domain == "LINUX")
    plan.personality = PER_LINUX;
  else if (config.personality->domain == "LINUX32")
    plan.personality = PER_LINUX32;
  else
    return fail(ErrorKind::invalid, "linux.personality.domain: \"{}\" is neither LINUX nor LINUX32",
                config.personality->domain);
  return {};
}

Result<> compile_root(const Compilation& work, LaunchPlan& plan) {
  const auto& spec = work.spec;
  plan.root.mount = work.options.root_mount;
  if (plan.root.mount == no_fd) {
    if (!spec.root || spec.root->path.empty()) return fail(ErrorKind::invalid, "root.path is required");
    plan.root.path = absolute_in_bundle(work.options, spec.root->path);
  }
  plan.root.readonly = spec.root && spec.root->readonly;
  plan.root.no_pivot = work.host.root_is_ramfs;
  const auto& propagation = spec.linux_config->rootfs_propagation;
  // A new root is private as it is, and what is slave is so by its own mount.
  if (propagation == "shared")
    plan.root.propagation = MS_SHARED;
  else if (propagation == "rshared")
    plan.root.propagation = MS_SHARED | MS_REC;
  else if (propagation == "unbindable")
    plan.root.propagation = MS_UNBINDABLE;
  else if (propagation == "runbindable")
    plan.root.propagation = MS_UNBINDABLE | MS_REC;
  else if (!propagation.empty() && propagation != "private" && propagation != "rprivate" && propagation != "slave" &&
           propagation != "rslave")
    return fail(ErrorKind::invalid, "linux.rootfsPropagation: there is no \"{}\"", propagation);
  return {};
}

Result<std::vector<HookPlan>> compile_hooks(const std::vector<oci::Hook>& hooks) {
  std::vector<HookPlan> plans;
  for (const auto& hook : hooks) {
    if (!hook.path.starts_with('/'))
      return fail(ErrorKind::invalid, "hooks: \"{}\" is not an absolute path", hook.path);
    if (hook.timeout && *hook.timeout <= 0)
      return fail(ErrorKind::invalid, "hook {}: the timeout must be above 0", hook.path);
    plans.push_back({hook.path, hook.args, hook.env, hook.timeout.value_or(0)});
  }
  return plans;
}

// The state document for hooks that the child runs, which alone knows the pid only when it lives.
std::string state_text(const Compilation& work, std::string_view status) {
  constexpr int place = 1987654321;
  oci::RuntimeState state;
  state.oci_version = oci::runtime_spec_version;
  state.id = work.options.id;
  state.status = status;
  state.pid = place;
  state.bundle = work.options.bundle;
  state.annotations = work.spec.annotations;
  std::string text = oci::write_runtime_state(state);
  const std::string number = std::to_string(place);
  if (const auto at = text.find(number); at != std::string::npos) text.replace(at, number.size(), "@PID@");
  return text;
}

Result<> compile_all_hooks(const Compilation& work, LaunchPlan& plan) {
  if (!work.spec.hooks) return {};
  plan.create_container_hooks = TRY(compile_hooks(work.spec.hooks->create_container));
  plan.start_container_hooks = TRY(compile_hooks(work.spec.hooks->start_container));
  if (!plan.create_container_hooks.empty()) plan.create_state = state_text(work, "creating");
  if (!plan.start_container_hooks.empty()) plan.start_state = state_text(work, "created");
  return {};
}

Result<> refuse_unsupported(const oci::Linux& config) {
  if (!config.net_devices.empty())
    return fail(ErrorKind::not_implemented,
                "linux.netDevices is not supported: move the device into the network namespace beforehand");
  if (config.intel_rdt) return fail(ErrorKind::not_implemented, "linux.intelRdt is not supported");
  if (config.memory_policy)
    return fail(ErrorKind::not_implemented, "linux.memoryPolicy is not supported: use resources.cpu.mems");
  return {};
}

std::vector<std::string> absolute_paths(const std::vector<std::string>& paths) {
  std::vector<std::string> result;
  for (const auto& path : paths)
    if (path.starts_with('/')) result.push_back(path);
  return result;
}

std::uint64_t namespaces_to_join(const oci::Linux& config) {
  struct TypeFlag {
    std::string_view type;
    std::uint64_t flag;
  };
  static constexpr TypeFlag flags[] = {{"user", CLONE_NEWUSER},     {"mount", CLONE_NEWNS}, {"pid", CLONE_NEWPID},
                                       {"network", CLONE_NEWNET},   {"ipc", CLONE_NEWIPC},  {"uts", CLONE_NEWUTS},
                                       {"cgroup", CLONE_NEWCGROUP}, {"time", CLONE_NEWTIME}};
  std::uint64_t result = 0;
  for (const auto& ns : config.namespaces)
    for (const auto& [type, flag] : flags)
      if (ns.type == type) result |= flag;
  return result;
}

}  // namespace

Result<CompiledLaunch> compile(const oci::RuntimeSpec& spec, const HostFeatures& host, const CompileOptions& options) {
  if (!spec.process) return fail(ErrorKind::invalid, "process is required");
  if (!spec.linux_config) return fail(ErrorKind::invalid, "linux is required");
  Compilation work{spec, host, options, host.own_bounding, {}};
  LaunchPlan plan;
  plan.id = options.id;
  plan.cgroup = options.cgroup;
  plan.session_keyring = options.session_keyring;
  CHECK(refuse_unsupported(*spec.linux_config));
  CHECK(compile_namespaces(work, plan));
  if (work.mode(plan, NamespaceKind::user) != NamespaceMode::inherit) work.grantable = host.capabilities;
  CHECK(compile_root(work, plan));
  CHECK(compile_mounts(work, plan));
  CHECK(compile_devices(work, plan));
  CHECK(compile_sysctls(work, plan));
  plan.masked_paths = absolute_paths(spec.linux_config->masked_paths);
  plan.readonly_paths = absolute_paths(spec.linux_config->readonly_paths);
  CHECK(compile_process(work, *spec.process, plan.process));
  plan.process.make_cwd = true;
  CHECK(compile_personality(*spec.linux_config, plan.process));
  CHECK(compile_seccomp_part(work, spec, plan.process));
  CHECK(compile_all_hooks(work, plan));
  return CompiledLaunch{std::move(plan), std::move(work.warnings)};
}

Result<CompiledExec> compile_exec(const oci::RuntimeSpec& container, const oci::Process& process,
                                  const HostFeatures& host, const CompileOptions& options) {
  if (!container.linux_config) return fail(ErrorKind::invalid, "linux is required");
  Compilation work{container, host, options, host.own_bounding, {}};
  ExecPlan plan;
  plan.id = options.id;
  plan.cgroup = options.cgroup;
  plan.session_keyring = options.session_keyring;
  plan.namespaces = namespaces_to_join(*container.linux_config);
  if ((plan.namespaces & CLONE_NEWUSER) != 0) work.grantable = host.capabilities;
  CHECK(compile_process(work, process, plan.process));
  CHECK(compile_personality(*container.linux_config, plan.process));
  CHECK(compile_seccomp_part(work, container, plan.process));
  return CompiledExec{std::move(plan), std::move(work.warnings)};
}

}  // namespace corten::runtime
