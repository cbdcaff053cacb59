// stop, restart, kill, pause and unpause. Signals go to the first process by its pid descriptor, not through the shim:
// a shim that hangs does not keep a container from being killed.
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>

#include "base/cleanup.h"
#include "base/log.h"
#include "engine/engine_impl.h"
#include "sys/process.h"

namespace corten::engine {
namespace {

constexpr std::chrono::seconds default_stop_timeout{10};
constexpr std::chrono::seconds kill_patience{10};
// From the end of the first process to its shim's report, which waits for the log to be written.
constexpr std::chrono::seconds report_patience{4};
constexpr std::chrono::seconds freeze_patience{10};

int stop_signal_of(const Definition& definition) {
  if (definition.config.stop_signal.empty()) return SIGTERM;
  return parse_signal(definition.config.stop_signal).value_or(SIGTERM);
}

// A start that is under way is let through first: what it starts is what is meant.
void let_start_end(Container& container) {
  if (!container.with([](Container::Data& data) { return data.starting; })) return;
  const std::unique_lock lock(container.operation, kill_patience);
}

bool process_is_over(const Run& run) {
  if (run.client) return sys::pidfd_wait_ended(run.client->pidfd(), std::chrono::milliseconds(0)).value_or(true);
  return run.pid <= 0 || ::kill(run.pid, 0) != 0;
}

std::shared_ptr<WaitState> wait_for_end(Container& container) {
  auto waiter = std::make_shared<WaitState>(WaitCondition::not_running);
  container.with([&](Container::Data& data) {
    if (!data.state.running() && !data.starting) {
      waiter->finish({data.state.exit_code, ""});
    } else {
      data.waiters.push_back(waiter);
    }
  });
  return waiter;
}

// Waits for the end to be told, at most `limit`. False at once when it will not be: the process is over and its shim is
// stopped.
bool wait_for_report(Container& container, WaitState& waiter, std::chrono::milliseconds limit) {
  constexpr std::chrono::milliseconds look_interval{1000};
  const auto deadline = std::chrono::steady_clock::now() + limit;
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
    if (waiter.wait_for(std::clamp(left, std::chrono::milliseconds(0), look_interval))) return true;
    if (left <= look_interval) return false;
    const auto run = container.with([](Container::Data& data) { return data.run; });
    if (run && run->client && process_is_over(*run) && run->client->is_stopped()) return false;
  }
}

}  // namespace

// Outlives a killed daemon whose last database writes are lost.
void EngineImpl::mark_stopped(const std::string& id) {
  const std::string path = layout_.run(id) + "/" + stopped_marker;
  const UniqueFd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
}

void EngineImpl::give_up_restart(const ContainerRef& container) {
  Timers::Id timer = 0;
  std::vector<std::shared_ptr<WaitState>> waiters;
  WaitResult waited;
  bool remove = false;
  container->change([&](Container::Data& data) {
    timer = std::exchange(data.restart_timer, 0);
    if (!data.state.restarting) return;
    data.state.status = after(data.state.status, Move::give_up).value_or(Status::exited);
    data.state.restarting = false;
    waited = {data.state.exit_code, ""};
    finish_waiters(data.waiters, false, waited);
    remove = data.definition->host_config.auto_remove;
  });
  if (timer != 0) timers_.cancel(timer);
  if (remove) auto_remove(container);
}

// `user_asked`: a stop or kill by hand, which a restart policy honours; false when the daemon shuts down.
Result<> EngineImpl::send_signal(const ContainerRef& container, int signo, bool user_asked) {
  std::shared_ptr<shimproto::ShimClient> client;
  std::shared_ptr<const Definition> definition;
  pid_t pid = 0;
  bool ends = false, paused = false, restarting = false;
  bool starting = false;
  const auto decide = [&](Container::Data& data) -> Result<> {
    // A restart that begins this very moment would undo what is said here.
    starting = data.starting;
    if (starting) return {};
    CHECK(must_run(data.state, container->id()));
    definition = data.definition;
    // As Docker: the stop signal and KILL mean the end; without a stop signal of its own any signal may.
    const bool has_own = !definition->config.stop_signal.empty();
    ends = signo == SIGKILL || !has_own || signo == stop_signal_of(*definition);
    paused = data.state.paused();
    restarting = data.state.restarting;
    if (ends) data.no_restart = true;
    if (user_asked && ends) data.state.has_been_manually_stopped = true;
    if (data.run) {
      client = data.run->client;
      pid = data.run->pid;
    }
    container->publish(true);
    return {};
  };
  do {
    let_start_end(*container);
    CHECK(container->with(decide));
  } while (starting);
  if (restarting) {
    if (ends) give_up_restart(container);
    return {};
  }
  if (user_asked && ends) mark_stopped(container->id());
  if (client != nullptr && client->pidfd() >= 0) {
    if (auto sent = sys::pidfd_send_signal(client->pidfd(), signo); !sent && sent.error().sys_errno() != ESRCH) {
      return std::unexpected(std::move(sent).error().wrap(fmt::format("Cannot kill container {}", container->id())));
    }
  } else if (pid > 0) {
    // Found at boot, and its shim has not answered yet.
    if (::kill(pid, signo) != 0 && errno != ESRCH) return sys_fail("Cannot kill container {}", container->id());
  }
  emit(*definition, "kill", {{"signal", std::to_string(signo)}});
  // A frozen process only dies once it is let go.
  if (paused && ends) {
    if (auto thawed = unpause(container->id()); !thawed) {
      log::warn("container {}: {}", short_id(container->id()), thawed.error().text());
    }
  }
  return {};
}

Result<> EngineImpl::kill_and_wait(const ContainerRef& container) {
  let_start_end(*container);
  const auto waiter = wait_for_end(*container);
  const Cleanup leave([&] { waiter->abandon(); });
  CHECK(send_signal(container, SIGKILL, true));
  if (wait_for_report(*container, *waiter, report_patience)) return {};
  const auto seen = container->with([](Container::Data& data) { return data.run; });
  if (seen && !process_is_over(*seen) && waiter->wait_for(kill_patience)) return {};

  // The process is dead or stuck in the kernel, and the shim does not say so. If it is dead the shim hangs: end it, and
  // the hub will tell that it is lost.
  const auto run = container->with([](Container::Data& data) { return data.run; });
  if (run && process_is_over(*run)) {
    log::warn("container {}: its shim does not report the end, killing it", short_id(container->id()));
    if (run->shim_pid > 0) ::kill(run->shim_pid, SIGKILL);
    if (waiter->wait_for(std::chrono::seconds(2))) return {};
    run_lost(container, run->number, Error(ErrorKind::unavailable, "it did not report the end of the first process"));
    return {};
  }
  return fail(ErrorKind::internal, "tried to kill container, but did not receive an exit event");
}

Result<> EngineImpl::stop_container(const ContainerRef& container, const StopOptions& options) {
  const auto definition = container->with([](Container::Data& data) { return data.definition; });
  const int signo = options.signal.empty() ? stop_signal_of(*definition) : TRY(parse_signal(options.signal));
  std::chrono::seconds timeout = default_stop_timeout;
  if (options.timeout) {
    timeout = *options.timeout;
  } else if (definition->config.stop_timeout) {
    timeout = std::chrono::seconds(*definition->config.stop_timeout);
  }
  const auto waiter = wait_for_end(*container);
  const Cleanup leave([&] { waiter->abandon(); });
  container->with([](Container::Data& data) { data.no_restart = true; });
  auto sent = send_signal(container, signo, true);
  if (!sent && sent.error().kind() != ErrorKind::conflict) return sent;
  // Whatever the signal was, its purpose is the end.
  mark_stopped(container->id());
  if (timeout.count() < 0) {
    while (!waiter->wait_for(std::chrono::hours(1))) {
    }
  } else if (!wait_for_report(*container, *waiter, timeout)) {
    if (auto killed = kill_and_wait(container); !killed && killed.error().kind() != ErrorKind::conflict) return killed;
  }
  emit(*definition, "stop");
  return {};
}

Result<> EngineImpl::stop(std::string_view ref, StopOptions options) {
  const auto container = TRY(registry_.find(ref));
  let_start_end(*container);
  CHECK(container->with([&](Container::Data& data) -> Result<> {
    if (data.state.running() || data.starting) return {};
    return fail(ErrorKind::not_modified, "container {} is already stopped", container->id());
  }));
  if (!options.signal.empty()) CHECK(parse_signal(options.signal));
  return wrap(stop_container(container, options), fmt::format("cannot stop container: {}", ref));
}

Result<> EngineImpl::restart(std::string_view ref, StopOptions options) {
  const auto container = TRY(registry_.find(ref));
  if (!options.signal.empty()) CHECK(parse_signal(options.signal));
  const std::string what = fmt::format("Cannot restart container {}", ref);
  CHECK(container->with([&](Container::Data& data) { return may_restart_or_rename(data.state, container->id()); }));
  container->with([](Container::Data& data) { data.keep_after_exit = true; });
  const Cleanup normal([&] { container->with([](Container::Data& data) { data.keep_after_exit = false; }); });
  const bool running = container->with([](Container::Data& data) { return data.state.running() || data.starting; });
  if (running) CHECK_AS(stop_container(container, options), what);
  auto started = start(container->id(), {});
  if (!started && started.error().kind() != ErrorKind::not_modified) return wrap(std::move(started), what);
  emit(*container->view()->definition, "restart");
  return {};
}

Result<> EngineImpl::kill(std::string_view ref, std::string_view signal) {
  const auto container = TRY(registry_.find(ref));
  const int signo = signal.empty() ? SIGKILL : TRY(parse_signal(signal));
  let_start_end(*container);
  auto result = signo == SIGKILL ? kill_and_wait(container) : send_signal(container, signo, true);
  return wrap(std::move(result), fmt::format("cannot kill container: {}", ref));
}

Result<> EngineImpl::pause(std::string_view ref) {
  const auto container = TRY(registry_.find(ref));
  const auto lock = TRY(lock_operation(*container));
  CHECK(container->with([&](Container::Data& data) { return may_pause(data.state, container->id()); }));
  const auto group = TRY(open_cgroup(*container));
  if (auto frozen = group.freeze(freeze_patience); !frozen) {
    return std::unexpected(std::move(frozen).error().wrap(fmt::format("Cannot pause container {}", container->id())));
  }
  Timers::Id timer = 0;
  const bool done = container->with([&](Container::Data& data) {
    // Its process may have been killed the moment before.
    const auto next = after(data.state.status, Move::pause);
    if (!next || !data.run) return false;
    data.state.status = *next;
    timer = stop_health(data);
    container->publish(true);
    return true;
  });
  if (timer != 0) timers_.cancel(timer);
  if (!done) return fail(ErrorKind::conflict, "container {} is not running", container->id());
  emit(*container->view()->definition, "pause");
  return {};
}

Result<> EngineImpl::unpause(std::string_view ref) {
  const auto container = TRY(registry_.find(ref));
  const auto lock = TRY(lock_operation(*container));
  CHECK(container->with([&](Container::Data& data) { return may_unpause(data.state, container->id()); }));
  const auto group = TRY(open_cgroup(*container));
  if (auto thawed = group.thaw(freeze_patience); !thawed) {
    return std::unexpected(std::move(thawed).error().wrap(fmt::format("Cannot unpause container {}", container->id())));
  }
  const bool done = container->with([&](Container::Data& data) {
    const auto next = after(data.state.status, Move::unpause);
    if (!next) return false;
    data.state.status = *next;
    container->publish(true);
    return true;
  });
  if (!done) return {};  // it was killed while frozen and has ended
  emit(*container->view()->definition, "unpause");
  start_health(container);
  return {};
}

}  // namespace corten::engine
