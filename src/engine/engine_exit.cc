// The end of a run: told to everybody at once, cleared away off everybody's path, perhaps followed by another.
#include "base/log.h"
#include "engine/engine_impl.h"
#include "engine/failpoint.h"
#include "engine/followed_log.h"
#include "engine/restart_policy.h"
#include "store/store.h"
#include "sys/cgroup_oom.h"
#include "sys/files.h"

namespace corten::engine {
namespace {

constexpr std::chrono::milliseconds group_patience{10'000};

}  // namespace

void EngineImpl::run_ended(const ContainerRef& container, std::uint64_t run_number, shimproto::ExitRecord record) {
  const bool now = container->with([&](Container::Data& data) {
    if (data.run_number != run_number) return false;
    if (data.starting) {
      data.pending_end = record;
      return false;
    }
    return data.run != nullptr;
  });
  if (now) finish_run(container, record);
}

// A shim that died took its first process along (PDEATHSIG); what else is in the group is killed by clean_run().
void EngineImpl::run_lost(const ContainerRef& container, std::uint64_t run_number, const Error& why) {
  log::warn("container {}: its shim is gone: {}", short_id(container->id()), why.text());
  shimproto::ExitRecord record;
  record.code = 128 + SIGKILL;
  record.signal = SIGKILL;
  record.finished = now();
  run_ended(container, run_number, record);
}

void EngineImpl::finish_run(const ContainerRef& container, shimproto::ExitRecord record) {
  failpoint("exit.before_publish");
  std::shared_ptr<Run> run;
  std::shared_ptr<const Definition> definition;
  std::vector<std::shared_ptr<FollowedLog>> followers;
  std::vector<std::string> execs;
  Timers::Id health_timer = 0;
  Timestamp started_at;
  WaitResult waited;
  // Taken under the lock together with the new state, but told after the events, which come first for whoever waits.
  std::vector<std::shared_ptr<WaitState>> waiters;
  std::chrono::nanoseconds delay{};
  bool restart = false, remove = false, oom_told = false;

  const std::string cgroup_path = container->with([&](Container::Data& data) { return data.cgroup_path; });
  if (!record.oom && !cgroup_path.empty()) {
    // The group is still there: its counter knows of kills that the first process's exit code does not show.
    if (auto group = sys::CgroupDir::open(host_.cgroups.trees_for({}), cgroup_path)) {
      record.oom = sys::oom_kill_count(*group).value_or(0) > 0;
    }
  }

  const bool mine = container->with([&](Container::Data& data) {
    if (!data.run) return false;
    run = std::exchange(data.run, nullptr);
    definition = data.definition;
    ++data.cleaning;
    State& state = data.state;
    started_at = state.started_at;
    const Ending ending{record.code, data.restart_count, data.no_restart, state.has_been_manually_stopped};
    restart =
        !shutting_down_ && !definition->build_step && should_restart(definition->host_config.restart_policy, ending);
    remove = !restart && definition->host_config.auto_remove && !data.keep_after_exit;
    const Move move = restart ? Move::exit_to_restart : Move::exit;
    state.status = after(state.status, move).value_or(Status::exited);
    state.restarting = restart;
    state.pid = 0;
    state.exit_code = record.code;
    state.oom_killed = record.oom;
    state.finished_at = record.finished;
    if (restart) {
      data.backoff = next_backoff(data.backoff, record.finished - started_at);
      delay = data.backoff;
      ++data.restart_count;
    }
    data.endpoint.reset();
    data.cgroup_path.clear();
    oom_told = data.oom_told;
    health_timer = stop_health(data);
    execs.swap(data.exec_ids);
    data.exec_attaches.clear();
    for (const auto& weak : data.followers) {
      if (auto follower = weak.lock()) followers.push_back(std::move(follower));
    }
    data.followers.clear();
    waited = {record.code, state.error};
    std::erase_if(data.waiters, [&](const auto& waiter) {
      if (waiter->condition() == WaitCondition::removed) return waiter->abandoned();
      waiters.push_back(waiter);
      return true;
    });
    container->publish(true);
    return true;
  });
  if (!mine) return;
  failpoint("exit.after_publish");

  if (health_timer != 0) timers_.cancel(health_timer);
  end_execs(container, execs);
  for (const auto& follower : followers) follower->end();
  // A port must be free as soon as anybody can know that the container is over.
  if (run->endpoint && !run->endpoint.info().ports.empty()) run->endpoint.close();
  oom_.forget(container->id());
  if (record.oom && !oom_told) emit(*definition, "oom");
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(record.finished - started_at).count();
  emit(*definition, "die",
       {{"exitCode", std::to_string(record.code)},
        {"execDuration", std::to_string(std::max<std::int64_t>(seconds, 0))}});
  emit_network(*definition, "disconnect");
  for (const auto& waiter : waiters) waiter->finish(waited);
  if (restart) {
    const auto timer = timers_.after(delay, [this, container] { restart_due(container); });
    container->with([&](Container::Data& data) { data.restart_timer = timer; });
  } else if (remove) {
    auto_remove(container);
  }
  // After the answer to whoever waits for the removal, with which it would compete for the processor.
  janitor_.submit([this, container, run] { clean_run(container, run); });
}

// Endpoint, control group and run directory, in this order: the exit record must not go before the database has it.
void EngineImpl::clean_run(const ContainerRef& container, const std::shared_ptr<Run>& run) {
  const auto complain = [&](const Result<>& result) {
    if (!result) log::warn("clear away a run of container {}: {}", short_id(container->id()), result.error().text());
  };
  run->endpoint.close();
  if (!run->cgroup_path.empty()) {
    auto group = sys::CgroupDir::open(host_.cgroups.trees(), run->cgroup_path);
    if (group) {
      if (!group->empty().value_or(false)) complain(group->kill_all(group_patience));
      complain(group->remove(group_patience));
    } else if (group.error().kind() != ErrorKind::not_found) {
      complain(std::unexpected(std::move(group).error()));
    }
  }
  complain(store_.database().flush());
  failpoint("exit.before_run_dir_removal");
  // A stop may leave its mark in there this very moment.
  auto removed = sys::remove_tree(layout_.run(container->id()));
  for (int again = 0; !removed && removed.error().sys_errno() == ENOTEMPTY && again < 5; ++again) {
    removed = sys::remove_tree(layout_.run(container->id()));
  }
  complain(removed);
  container->with([](Container::Data& data) { --data.cleaning; });
  container->notify();
}

void EngineImpl::restart_due(const ContainerRef& container) {
  if (shutting_down_) return;
  const auto lock = lock_operation(*container);
  if (!lock) return;
  const bool still = container->with([](Container::Data& data) {
    data.restart_timer = 0;
    return data.state.restarting && !data.removed;
  });
  if (!still) return;
  if (auto result = start_locked(container, true); !result) {
    log::warn("restart container {}: {}", short_id(container->id()), result.error().text());
  }
}

// The kernel has killed something in the container, which may go on without it.
void EngineImpl::out_of_memory(const std::string& id) {
  const auto container = registry_.by_id(id);
  if (container == nullptr) return;
  const bool runs = container->with([&](Container::Data& data) {
    if (!data.run) return false;
    data.oom_told = true;
    return true;
  });
  if (runs) emit(*container->view()->definition, "oom");
}

void EngineImpl::attach_closed(const ContainerRef& container, std::uint64_t attach_id, shimproto::AttachEnd end) {
  if (end == shimproto::AttachEnd::too_slow)
    container->with([](Container::Data& data) {
      if (data.step) data.step->output_cut = true;
    });
  if (end != shimproto::AttachEnd::detached) return;
  const auto [definition, of_exec] = container->with(
      [&](Container::Data& data) { return std::pair(data.definition, std::erase(data.exec_attaches, attach_id) > 0); });
  emit(*definition, of_exec ? "exec_detach" : "detach");
}

}  // namespace corten::engine
