// exec: one more process in a running container.
#include <signal.h>

#include <algorithm>

#include "base/log.h"
#include "engine/engine_impl.h"
#include "engine/links.h"
#include "engine/log_source.h"
#include "engine/platform.h"
#include "shimproto/log_options.h"

namespace corten::engine {
namespace {

// How long an ended exec can still be inspected.
constexpr std::chrono::minutes ended_exec_life{5};

int start_failure_code(const Error& error) {
  const std::string_view text = error.text();
  if (text.find("executable file not found") != std::string_view::npos ||
      text.find("no such file or directory") != std::string_view::npos) {
    return 127;
  }
  return 126;
}

}  // namespace

std::string command_text(const std::vector<std::string>& words) { return fmt::format("{}", fmt::join(words, " ")); }

std::shared_ptr<Exec> EngineImpl::add_exec(const ContainerRef& container, ExecConfig config, bool is_probe) {
  ExecView view;
  view.id = random_id();
  view.container_id = container->id();
  view.open_stdin = config.attach_stdin;
  view.open_stdout = config.attach_stdout;
  view.open_stderr = config.attach_stderr;
  view.tty = config.tty;
  view.privileged = config.privileged;
  view.user = config.user;
  view.working_dir = config.working_dir;
  view.env = config.env;
  view.entrypoint = config.cmd.front();
  view.arguments.assign(config.cmd.begin() + 1, config.cmd.end());
  view.detach_keys = config.detach_keys;
  auto exec = std::make_shared<Exec>(std::move(view), std::move(config), is_probe);
  {
    const MutexLock lock(exec_mutex_);
    execs_.emplace(exec->id, exec);
  }
  container->with([&](Container::Data& data) {
    data.exec_ids.push_back(exec->id);
    container->publish(false);
  });
  emit(*container->view()->definition, "exec_create: " + command_text(exec->config.cmd), {{"execID", exec->id}});
  return exec;
}

Result<std::shared_ptr<Exec>> EngineImpl::find_exec(std::string_view exec_id) const {
  const MutexLock lock(exec_mutex_);
  const auto found = execs_.find(std::string(exec_id));
  if (found == execs_.end()) return fail(ErrorKind::not_found, "No such exec instance: {}", exec_id.substr(0, 300));
  return found->second;
}

void EngineImpl::drop_exec(const std::string& exec_id) {
  const MutexLock lock(exec_mutex_);
  execs_.erase(exec_id);
}

Result<std::string> EngineImpl::exec_create(std::string_view ref, ExecConfig config) {
  const auto container = TRY(registry_.find(ref));
  if (config.cmd.empty() || (config.cmd.size() == 1 && config.cmd[0].empty())) {
    return fail(ErrorKind::invalid, "No exec command specified");
  }
  CHECK(shimproto::parse_detach_keys(config.detach_keys));
  CHECK(container->with([&](Container::Data& data) { return may_exec(data.state, container->id()); }));
  return add_exec(container, std::move(config), false)->id;
}

// Whoever has read the exec's stream to its end asks for the exit code at once, when the shim's word of it may still be
// on its way through here. So before "running" is answered the shim is asked, and what it knows to be over is waited
// for.
Result<ExecView> EngineImpl::exec_inspect(std::string_view exec_id) const {
  constexpr auto delivery = std::chrono::seconds(2);
  const auto exec = TRY(find_exec(exec_id));
  const auto container = registry_.by_id(exec->container_id);
  if (!exec->copy().running || container == nullptr) return exec->copy();
  const auto client = client_of(*container);
  if (!client) return exec->copy();
  const auto status = (*client)->status();
  if (!status) return exec->copy();
  const bool runs = std::any_of(status->execs.begin(), status->execs.end(),
                                [&](const auto& known) { return known.first == exec->id; });
  return runs ? exec->copy() : exec->copy_of_end(delivery);
}

Result<> EngineImpl::exec_start(std::string_view exec_id, ExecStartOptions options) {
  const auto exec = TRY(find_exec(exec_id));
  const auto container = registry_.by_id(exec->container_id);
  if (container == nullptr) return fail(ErrorKind::not_found, "No such container: {}", exec->container_id);
  CHECK(container->with([&](Container::Data& data) { return may_exec(data.state, container->id()); }));
  {
    const MutexLock lock(exec->mutex);
    if (exec->view.running) return fail(ErrorKind::conflict, "Error: Exec command {} is already running", exec->id);
    if (exec->started) return fail(ErrorKind::conflict, "Error: Exec command {} has already run", exec->id);
    exec->started = true;
  }
  const bool tty = exec->config.tty;
  std::uint16_t rows = 0, columns = 0;
  const auto& size = options.console_size.size() == 2 ? options.console_size : exec->config.console_size;
  if (size.size() == 2) {
    rows = static_cast<std::uint16_t>(std::min(size[0], 65535U));
    columns = static_cast<std::uint16_t>(std::min(size[1], 65535U));
  }
  if (options.detach || !options.hijack) return run_exec(container, exec, {}, rows, columns);

  auto hijacked = options.hijack(tty);
  if (!hijacked) {
    finish_exec(container, exec, 126);
    return std::unexpected(std::move(hijacked).error());
  }
  shimproto::AttachSpec attach;
  attach.fd = hijacked->fd.get();
  attach.already_read = std::move(hijacked->already_read);
  attach.want_stdin = exec->config.attach_stdin;
  attach.want_stdout = exec->config.attach_stdout;
  attach.want_stderr = exec->config.attach_stderr;
  attach.multiplexed = !tty;
  if (tty) attach.detach_keys = TRY(shimproto::parse_detach_keys(exec->config.detach_keys));
  if (auto ran = run_exec(container, exec, std::move(attach), rows, columns); !ran) {
    // The head has gone out: what went wrong can only be said in the stream, as Docker does.
    end_stream(hijacked->fd.get(), !tty, false, ran.error());
  }
  return {};
}

Result<> EngineImpl::run_exec(const ContainerRef& container, const std::shared_ptr<Exec>& exec,
                              std::optional<shimproto::AttachSpec> attach, std::uint16_t rows, std::uint16_t columns) {
  std::shared_ptr<const Definition> definition;
  std::shared_ptr<const std::vector<MountDetail>> mounts;
  std::string cgroup_path;
  pid_t pid = 0;
  container->with([&](Container::Data& data) {
    definition = data.definition;
    mounts = data.mounts;
    cgroup_path = data.cgroup_path;
    pid = data.state.pid;
  });
  const auto attempt = [&]() -> Result<shimproto::Started> {
    const auto client = TRY(client_of(*container));
    const auto root = TRY(open_running_root(pid));
    const auto link_env = link_environment(*definition, find_links(*definition, registry_));
    const auto process = TRY(build_exec_process(*definition, exec->config, link_env, root.get(), settings_, features_));
    const auto facts = runtime_facts(*definition, pid, root.get(), cgroup_path);
    const auto spec = TRY(build_runtime_spec(*definition, *mounts, facts, settings_, features_));
    const auto group = TRY(open_cgroup(*container));
    shimproto::ExecRequest request;
    runtime::CompileOptions compile_options;
    compile_options.id = exec->id;
    compile_options.cgroup_path = cgroup_path;
    const auto add_fd = [&](int fd) {
      request.plan_fds.push_back(fd);
      return static_cast<runtime::FdSlot>(request.plan_fds.size() - 1);
    };
    if (group.v2_directory() >= 0) compile_options.cgroup.v2_directory = add_fd(group.v2_directory());
    for (const int fd : group.v1_directories()) compile_options.cgroup.v1_directories.push_back(add_fd(fd));
    const auto compiled = TRY(runtime::compile_exec(spec, process, host_, compile_options));
    const auto bytes = runtime::serialise(compiled.plan);
    request.plan.assign(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    request.exec_id = exec->id;
    request.tty = exec->config.tty;
    request.rows = rows;
    request.columns = columns;
    request.stdin_open = exec->config.attach_stdin;
    request.attach = std::move(attach);
    {
      const MutexLock lock(exec->mutex);
      exec->view.running = true;
    }
    emit(*definition, "exec_start: " + command_text(exec->config.cmd), {{"execID", exec->id}});
    return client->exec(request);
  };
  auto begun = attempt();
  if (!begun) {
    begun = std::unexpected(explain_foreign_program(std::move(begun).error(), images_, definition->image_id));
    const int code = start_failure_code(begun.error());
    finish_exec(container, exec, code);
    Error error(begun.error().kind(),
                fmt::format("OCI runtime exec failed: exec failed: unable to start container process: {}: unknown",
                            begun.error().text()));
    const bool callers_fault = begun.error().text().find("exec: \"") != std::string::npos ||
                               error.kind() == ErrorKind::not_found || error.kind() == ErrorKind::forbidden;
    return std::unexpected(callers_fault ? std::move(error).as(ErrorKind::invalid) : std::move(error));
  }
  {
    // It may have ended already; then the pid is nobody's.
    const MutexLock lock(exec->mutex);
    if (exec->view.running) exec->view.pid = begun->pid;
  }
  if (!begun->attach_ids.empty()) {
    container->with([&](Container::Data& data) {
      for (const auto id : begun->attach_ids) data.exec_attaches.push_back(id);
    });
  }
  return {};
}

void EngineImpl::exec_ended(const ContainerRef& container, const std::string& exec_id,
                            const shimproto::ExitRecord& record) {
  if (const auto exec = find_exec(exec_id)) finish_exec(container, *exec, record.code);
}

void EngineImpl::finish_exec(const ContainerRef& container, const std::shared_ptr<Exec>& exec, int exit_code) {
  std::function<void(int)> on_end;
  bool ran = false;
  {
    const MutexLock lock(exec->mutex);
    if (exec->view.exit_code) return;
    ran = exec->view.running;
    exec->view.running = false;
    exec->view.pid = 0;
    exec->view.exit_code = exit_code;
    exec->started = true;
    exec->ended_at = std::chrono::steady_clock::now();
    on_end.swap(exec->on_end);
  }
  exec->ended.notify_all();
  std::shared_ptr<const Definition> definition;
  container->with([&](Container::Data& data) {
    definition = data.definition;
    if (std::erase(data.exec_ids, exec->id) > 0) container->publish(false);
  });
  if (ran) emit(*definition, "exec_die", {{"execID", exec->id}, {"exitCode", std::to_string(exit_code)}});
  if (on_end) on_end(exit_code);
  if (exec->is_probe) drop_exec(exec->id);
}

// The container's end took them along; the shim reports those it knows of before, so this is for the rest.
void EngineImpl::end_execs(const ContainerRef& container, const std::vector<std::string>& exec_ids) {
  for (const auto& id : exec_ids) {
    const auto exec = find_exec(id);
    if (exec) finish_exec(container, *exec, 128 + SIGKILL);
  }
}

Result<> EngineImpl::exec_resize(std::string_view exec_id, unsigned height, unsigned width) {
  const auto exec = TRY(find_exec(exec_id));
  const auto container = registry_.by_id(exec->container_id);
  if (container == nullptr || !exec->copy().running) {
    return fail(ErrorKind::conflict, "exec {} is not running", exec->id);
  }
  const auto client = TRY(client_of(*container));
  if (height > UINT16_MAX || width > UINT16_MAX)
    return fail(ErrorKind::invalid, "resize: {} by {} is too large", height, width);
  return client->resize(exec->id, static_cast<std::uint16_t>(height), static_cast<std::uint16_t>(width));
}

void EngineImpl::collect_execs() {
  const auto oldest = std::chrono::steady_clock::now() - ended_exec_life;
  std::vector<std::shared_ptr<Exec>> dropped;  // destroyed without the lock
  {
    const MutexLock lock(exec_mutex_);
    std::erase_if(execs_, [&](const auto& entry) {
      const auto& exec = entry.second;
      const MutexLock exec_lock(exec->mutex);
      const bool over = exec->view.exit_code && exec->ended_at < oldest;
      const bool orphan = registry_.by_id(exec->container_id) == nullptr;
      if (over || orphan) dropped.push_back(exec);
      return over || orphan;
    });
  }
  timers_.after(ended_exec_life, [this] { collect_execs(); });
}

}  // namespace corten::engine
