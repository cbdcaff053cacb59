// `start`: around StartAttempt, which does the work; what is published, what an error becomes, who is told.
#include "base/log.h"
#include "engine/engine_impl.h"
#include "engine/failpoint.h"
#include "engine/followed_log.h"
#include "engine/platform.h"
#include "engine/start_attempt.h"

namespace corten::engine {
namespace {

constexpr std::chrono::seconds cleaning_patience{20};

}  // namespace

std::string namespace_path(pid_t pid, std::string_view kind) { return fmt::format("/proc/{}/ns/{}", pid, kind); }

Result<> EngineImpl::start(std::string_view ref, std::string_view) {
  if (shutting_down_) return fail(ErrorKind::unavailable, "the daemon is shutting down");
  const auto container = TRY(registry_.find(ref));
  const auto lock = TRY(lock_operation(*container));
  auto allowed = container->with([&](Container::Data& data) -> Result<> {
    if (data.state.restarting) return fail(ErrorKind::not_modified, "container {} is already started", container->id());
    if (data.definition->build_step && data.run_number > 0)
      return fail(ErrorKind::conflict, "container {} is a step of a build: it runs once", container->id());
    CHECK(may_start(data.state, container->id()));
    data.state.has_been_manually_stopped = false;
    data.restart_count = 0;
    data.backoff = {};
    return {};
  });
  CHECK(std::move(allowed));
  return start_locked(container, false);
}

Result<> EngineImpl::start_locked(const ContainerRef& container, bool by_policy) {
  const bool clean = container->wait_for(cleaning_patience, [](Container::Data& data) { return data.cleaning == 0; });
  if (!clean) {
    return fail(ErrorKind::deadline, "start container {}: what is left of its last run cannot be cleared away",
                container->id());
  }
  // In one step: from here on a stop waits for the start, before it the start does not happen.
  const bool wanted = container->with([&](Container::Data& data) {
    if (by_policy && !data.state.restarting) return false;
    return data.starting = true;
  });
  if (!wanted) return {};
  StartAttempt attempt(*this, container);
  auto begun = attempt.run();
  if (!begun) return std::unexpected(fail_start(container, std::move(begun).error()));
  started(container, attempt.finish(), *begun);
  return {};
}

void EngineImpl::started(const ContainerRef& container, std::shared_ptr<Run> run, Timestamp when) {
  std::shared_ptr<const Definition> definition;
  container->change([&](Container::Data& data) {
    definition = data.definition;
    State& state = data.state;
    state.status = after(state.status, Move::start).value_or(Status::running);
    state.restarting = false;
    state.pid = run->pid;
    state.exit_code = 0;
    state.error.clear();
    state.oom_killed = false;
    state.started_at = when;
    state.health.reset();
    data.endpoint.reset();
    if (run->endpoint) data.endpoint = run->endpoint.info();
    data.cgroup_path = run->cgroup_path;
    data.oom_told = false;
    data.run = run;
  });
  if (definition->host_config.memory > 0) oom_.watch(container->id(), run->cgroup_path);
  failpoint("start.after_publish");
  emit_network(*definition, "connect");
  emit(*definition, "start");
  start_health(container);
  deliver_attaches(container);
  // An exit that came before all this was said is dealt with now, in order.
  std::optional<shimproto::ExitRecord> end;
  container->with([&](Container::Data& data) {
    data.starting = false;
    end.swap(data.pending_end);
  });
  if (end) finish_run(container, *end);
}

// Clients that attached while the start was under way.
void EngineImpl::deliver_attaches(const ContainerRef& container) {
  std::vector<PendingAttach> late;
  std::shared_ptr<shimproto::ShimClient> client;
  container->with([&](Container::Data& data) {
    late.swap(data.attaches);
    if (data.run) client = data.run->client;
  });
  for (auto& attach : late) {
    attach.spec.fd = attach.stream.fd.get();
    attach.spec.already_read = std::move(attach.stream.already_read);
    if (client == nullptr) continue;
    if (auto reply = client->attach(attach.spec); !reply) {
      log::debug("container {}: attach: {}", short_id(container->id()), reply.error().text());
    }
  }
}

namespace {

bool has(std::string_view text, std::string_view part) { return text.find(part) != std::string_view::npos; }

struct Translated {
  Error error;
  int exit_code;
};

// Docker's classes of start failures, told by the text as Docker's clients do: 127 for a command that is not there, 126
// for one that cannot be run (both the caller's mistake), 128 for the rest.
Translated translate(Error error) {
  const std::string& text = error.text();
  if (has(text, "executable file not found") || has(text, "no such file or directory")) {
    return {std::move(error).as(ErrorKind::invalid), 127};
  }
  if (has(text, "permission denied") || has(text, "is a directory") || has(text, "exec format error")) {
    return {std::move(error).as(ErrorKind::invalid), 126};
  }
  if (has(text, "not a directory")) {
    std::string more =
        text +
        ": Are you trying to mount a directory onto a file (or vice-versa)? Check if the specified host path "
        "exists and is the expected type";
    return {Error(ErrorKind::invalid, std::move(more)), 127};
  }
  return {std::move(error), 128};
}

}  // namespace

Error EngineImpl::fail_start(const ContainerRef& container, Error error) {
  // A refusal before the runtime was asked keeps its class; what the runtime says is put as Docker puts it.
  const std::string image_id = container->view()->definition->image_id;
  Translated result{explain_foreign_program(std::move(error), images_, image_id), 128};
  const bool refusal = result.error.kind() == ErrorKind::conflict || result.error.kind() == ErrorKind::invalid ||
                       result.error.text().starts_with("network ") ||
                       result.error.text().starts_with("failed to set up");
  if (!refusal || has(result.error.text(), "exec: \"")) {
    Error told(result.error.kind(),
               fmt::format("failed to create task for container: {}: unknown", result.error.text()),
               result.error.sys_errno());
    result = translate(std::move(told));
    // Not found is what the container is not; its start went wrong.
    if (result.error.kind() == ErrorKind::not_found || result.error.kind() == ErrorKind::forbidden) {
      result.error = std::move(result.error).as(ErrorKind::internal);
    }
  }
  bool remove = false;
  std::vector<std::shared_ptr<FollowedLog>> followers;
  container->change([&](Container::Data& data) {
    State& state = data.state;
    const bool was_restarting = state.restarting;
    state.status = after(state.status, Move::give_up).value_or(state.status);
    state.restarting = false;
    state.exit_code = result.exit_code;
    state.error = result.error.text();
    data.endpoint.reset();
    data.cgroup_path.clear();
    remove = data.definition->host_config.auto_remove;
    // A start by hand that fails ends nothing; a restart that fails ends the waiting for it.
    if (was_restarting) finish_waiters(data.waiters, false, {result.exit_code, state.error});
    // Those who came while it was starting wait for something that is not going to be.
    std::erase_if(data.waiters, [&](const auto& waiter) {
      if (waiter->condition() != WaitCondition::not_running) return false;
      waiter->finish({result.exit_code, state.error});
      return true;
    });
    for (const auto& weak : data.followers) {
      if (auto follower = weak.lock()) followers.push_back(std::move(follower));
    }
    data.followers.clear();
  });
  for (const auto& follower : followers) follower->end();
  log::info("container {}: {}", short_id(container->id()), result.error.text());
  if (remove) workers_.submit([this, container] { auto_remove(container); });
  return std::move(result.error);
}

shimproto::ShimCallbacks EngineImpl::callbacks_for(const ContainerRef& container, std::uint64_t run_number) {
  shimproto::ShimCallbacks callbacks;
  const std::weak_ptr<Container> weak = container;
  callbacks.on_exit = [this, weak, run_number](const shimproto::ExitRecord& record) {
    if (const auto strong = weak.lock()) run_ended(strong, run_number, record);
  };
  callbacks.on_lost = [this, weak, run_number](const Error& why) {
    if (const auto strong = weak.lock()) run_lost(strong, run_number, why);
  };
  callbacks.on_exec_exit = [this, weak](const std::string& exec_id, const shimproto::ExitRecord& record) {
    if (const auto strong = weak.lock()) exec_ended(strong, exec_id, record);
  };
  callbacks.on_attach_closed = [this, weak](std::uint64_t attach_id, shimproto::AttachEnd end) {
    if (const auto strong = weak.lock()) attach_closed(strong, attach_id, end);
  };
  return callbacks;
}

StartFacts EngineImpl::runtime_facts(const Definition& definition, pid_t pid, int rootfs,
                                     const std::string& cgroup_path) const {
  StartFacts facts;
  if (auto mapping = user_mapping(definition.host_config, settings_)) facts.user_mapping = std::move(*mapping);
  facts.rootfs = rootfs;
  facts.cgroup_path = "/" + cgroup_path;
  facts.hostname = definition.config.hostname;
  for (auto [path, kind] : {std::pair{&facts.network_namespace_path, "net"},
                            {&facts.ipc_namespace_path, "ipc"},
                            {&facts.pid_namespace_path, "pid"},
                            {&facts.uts_namespace_path, "uts"},
                            {&facts.cgroup_namespace_path, "cgroup"}}) {
    *path = namespace_path(pid, kind);
  }
  return facts;
}

}  // namespace corten::engine
