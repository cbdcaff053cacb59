#include "ociruntime/launch.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <memory>

#include "base/time.h"
#include "ociruntime/console.h"
#include "ociruntime/hooks.h"
#include "runtime/cgroup_plan.h"
#include "runtime/compile.h"
#include "sys/files.h"
#include "sys/unix_socket.h"

namespace corten::ociruntime {

namespace {

Result<std::string> absolute_path(const std::string& path) {
  const std::unique_ptr<char, void (*)(void*)> real(::realpath(path.c_str(), nullptr), ::free);
  if (!real) return sys_fail("find {}", path);
  return std::string(real.get());
}

bool makes_namespace(const oci::RuntimeSpec& spec, std::string_view type) {
  if (!spec.linux_config) return false;
  for (const auto& wanted : spec.linux_config->namespaces)
    if (wanted.type == type) return wanted.path.empty();
  return false;
}

// The group that the specification names may have been made by the caller, but nobody may be in it.
Result<sys::CgroupDir> take_over_group(const oci::Resources& resources, const sys::CgroupHost& host,
                                       const std::string& path, std::vector<std::string>& warnings) {
  auto group = TRY(sys::CgroupDir::open(host.trees_for(runtime::needed_controllers(resources)), path));
  if (!TRY(group.empty())) return fail(ErrorKind::conflict, "container's cgroup {} is not empty", path);
  CHECK(group.remove(std::chrono::milliseconds(100)));
  return runtime::make_cgroup(resources, host, path, runtime::Unsupported::refuse, warnings);
}

}  // namespace

void print_warnings(const std::vector<std::string>& warnings) {
  for (const auto& warning : warnings) fmt::print(stderr, "warning: {}\n", warning);
}

Result<> write_pid_file(const std::string& path, pid_t pid) {
  if (path.empty()) return {};
  return sys::write_file_atomic(path, std::to_string(pid));
}

Launch::~Launch() {
  if (kept_) return;
  prepared_.reset();
  if (group_) (void)group_.kill_all(std::chrono::seconds(2));
  if (hooks_ran_ && spec_.hooks) {
    // Best effort: the error that ended the launch is the one to report.
    (void)run_hooks(spec_.hooks->poststop, "poststop", hook_state("stopped", 0));
  }
}

oci::RuntimeState Launch::hook_state(std::string_view status, pid_t pid) const {
  return {.oci_version = state_.oci_version,
          .id = state_.id,
          .status = std::string(status),
          .pid = pid,
          .bundle = state_.bundle,
          .annotations = state_.annotations};
}

Result<> Launch::read_spec() {
  const auto bundle = TRY_AS(absolute_path(options_.bundle), "bundle");
  const auto config = options_.config.empty() ? bundle + "/config.json" : options_.config;
  const auto text = TRY(sys::read_file(config, oci::max_runtime_spec_bytes));
  spec_ = TRY_AS(oci::parse_runtime_spec(text), config);
  if (!spec_.process) return fail(ErrorKind::invalid, "{}: process is required", config);
  if (!spec_.root) return fail(ErrorKind::invalid, "{}: root is required", config);
  if (spec_.process->terminal && options_.console_socket.empty() && options_.detach)
    return fail(ErrorKind::invalid, "cannot allocate tty if the container is detached without a console socket");
  if (!spec_.process->terminal && !options_.console_socket.empty())
    return fail(ErrorKind::invalid, "a console socket is given, but process.terminal is false");
  state_ = {.oci_version = std::string(oci::runtime_spec_version),
            .id = options_.id,
            .bundle = bundle,
            .rootfs = spec_.root->path.starts_with('/') ? spec_.root->path : bundle + "/" + spec_.root->path,
            .created = format_rfc3339(now()),
            .own_pid_namespace = makes_namespace(spec_, "pid"),
            .annotations = spec_.annotations,
            .owner = ::geteuid()};
  return {};
}

Result<> Launch::make_group() {
  const auto host = TRY(sys::CgroupHost::detect());
  if (host.mode() == sys::CgroupMode::none) return {};
  const auto& config = spec_.linux_config;
  auto path = config ? TRY(sys::clean_cgroup_path(config->cgroups_path)) : std::string();
  if (path.empty()) path = fmt::format("{}/{}", default_cgroup_parent, options_.id);
  const auto resources = config && config->resources ? *config->resources : oci::Resources();
  std::vector<std::string> warnings;
  auto group = runtime::make_cgroup(resources, host, path, runtime::Unsupported::refuse, warnings);
  if (!group && group.error().kind() == ErrorKind::conflict) group = take_over_group(resources, host, path, warnings);
  group_ = TRY(std::move(group));
  state_.cgroup_path = path;
  print_warnings(warnings);
  return {};
}

Result<> Launch::run_early_hooks(pid_t pid) {
  if (!spec_.hooks) return {};
  hooks_ran_ = true;
  const auto state = hook_state("creating", pid);
  CHECK(run_hooks(spec_.hooks->prestart, "prestart", state));
  return run_hooks(spec_.hooks->create_runtime, "createRuntime", state);
}

Result<> Launch::start_child(bool listen) {
  FdTable table;
  runtime::CompileOptions compile_options;
  compile_options.id = options_.id;
  compile_options.bundle = state_.bundle;
  compile_options.die_with_parent = false;
  compile_options.session_keyring = !options_.no_new_keyring;
  compile_options.cgroup_path = state_.cgroup_path;
  if (!spec_.process->terminal) {
    for (int fd = 0; fd < 3; ++fd) compile_options.stdio[static_cast<std::size_t>(fd)] = TRY(table.add_copy(fd));
  }
  if (group_) compile_options.cgroup = TRY(table.add_group(group_));
  const auto host = TRY(runtime::detect_host());
  auto compiled = TRY(runtime::compile(spec_, host, compile_options));
  print_warnings(compiled.warnings);
  runtime::LaunchPlan& plan = compiled.plan;
  plan.root.no_pivot = plan.root.no_pivot || options_.no_pivot;
  plan.process.extra_fds = TRY(table.add_preserved(options_.preserve_fds));
  if (listen) {
    auto socket = TRY(sys::listen_unix(layout_.start_socket(options_.id), sys::SocketType::seqpacket, 1));
    plan.start_listener = table.add(std::move(socket));
  }
  runtime::PrepareHooks hooks;
  if (spec_.hooks && (!spec_.hooks->prestart.empty() || !spec_.hooks->create_runtime.empty()))
    hooks.before_pivot = [this](pid_t pid) { return run_early_hooks(pid); };
  prepared_ = TRY(runtime::prepare(plan, table.fds(), hooks));
  print_warnings(prepared_->warnings);
  state_.pid = prepared_->child.pid();
  state_.pid_start_time = process_start_time(state_.pid);
  return {};
}

Result<> Launch::prepare(bool listen) {
  CHECK(check_id(options_.id));
  CHECK(read_spec());
  directory_.emplace(TRY(StateDirectory::create(layout_, options_.id)));
  CHECK(make_group());
  return start_child(listen);
}

Result<> Launch::publish() {
  if (!options_.console_socket.empty()) CHECK(send_console(options_.console_socket, prepared_->console.get()));
  CHECK(save(layout_, state_, spec_));
  return write_pid_file(options_.pid_file, state_.pid);
}

void Launch::keep() {
  kept_ = true;
  group_.release();
  directory_->keep();
}

}  // namespace corten::ociruntime
