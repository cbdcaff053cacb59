// Health checks: a probe is an exec whose output and exit code make the container healthy or not.
//
// Nothing waits while a probe runs: a timer starts it, the shim's report of its end (or the timeout) goes on from
// there. A generation number tells a monitor from the ones before it; what belongs to an older one is dropped.
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <array>

#include "base/log.h"
#include "base/mutex.h"
#include "base/time.h"
#include "engine/engine_impl.h"

namespace corten::engine {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t kept_output = 4096;
constexpr std::size_t kept_probes = 5;

std::chrono::nanoseconds or_default(std::chrono::nanoseconds value, std::chrono::nanoseconds fallback) {
  return value.count() > 0 ? value : fallback;
}

// The command of a health check, or nothing when there is none.
std::vector<std::string> probe_command(const spec::ContainerConfig& config) {
  if (!config.healthcheck || config.healthcheck->test.size() < 2) return {};
  const auto& test = config.healthcheck->test;
  std::vector<std::string> command;
  if (test[0] == "CMD") {
    command.assign(test.begin() + 1, test.end());
  } else if (test[0] == "CMD-SHELL") {
    command =
        config.shell && !config.shell->args.empty() ? config.shell->args : std::vector<std::string>{"/bin/sh", "-c"};
    command.insert(command.end(), test.begin() + 1, test.end());
  }
  return command;
}

std::chrono::nanoseconds interval_of(const Container::Data& data) {
  const auto& check = *data.definition->config.healthcheck;
  const bool young = data.state.health && data.state.health->status == HealthStatus::starting &&
                     now() - data.state.started_at < check.start_period;
  if (young) return or_default(check.start_interval, 5s);
  return or_default(check.interval, 30s);
}

// What a probe has written so far, from the pipe, without waiting; control bytes are kept as Docker keeps them.
std::string read_output(int pipe) {
  std::string output(kept_output, '\0');
  std::size_t length = 0;
  while (length < output.size()) {
    const ssize_t got = ::read(pipe, output.data() + length, output.size() - length);
    if (got <= 0) break;
    length += static_cast<std::size_t>(got);
  }
  output.resize(length);
  return output;
}

// One run of the check. Ends once: by its exit, by its timeout or because it could not be started.
struct Probe {
  // Set before the exec and the timer that read them.
  UniqueFd output;
  Timestamp begun;
  Timers::Id timeout = 0;
  std::string exec_id;

  Mutex mutex;
  bool over GUARDED_BY(mutex) = false;
  std::string failure GUARDED_BY(mutex);  // why it could not be started
};

bool end_once(Probe& probe) {
  const MutexLock lock(probe.mutex);
  return !std::exchange(probe.over, true);
}

HealthProbe result_of(Probe& probe, Timestamp end, int exit_code) {
  const MutexLock lock(probe.mutex);
  if (!probe.failure.empty()) return {probe.begun, end, -1, probe.failure.substr(0, kept_output)};
  return {probe.begun, end, exit_code, read_output(probe.output.get())};
}

// As Go prints a duration: "1m30s", "1.5s", "500ms".
std::string go_duration(std::chrono::nanoseconds duration) {
  if (duration < 1s) return fmt::format("{:g}ms", static_cast<double>(duration.count()) / 1e6);
  const auto minutes = std::chrono::duration_cast<std::chrono::minutes>(duration);
  const double seconds = static_cast<double>((duration - minutes).count()) / 1e9;
  std::string text;
  if (minutes.count() >= 60) text += fmt::format("{}h", minutes.count() / 60);
  if (minutes.count() > 0) text += fmt::format("{}m", minutes.count() % 60);
  return text + fmt::format("{:g}s", seconds);
}

// Applies a result as Docker does; true when the status has changed.
bool apply(Container::Data& data, HealthProbe result) {
  Health& health = *data.state.health;
  const auto& check = *data.definition->config.healthcheck;
  const HealthStatus before = health.status;
  if (result.exit_code == 0) {
    health.failing_streak = 0;
    health.status = HealthStatus::healthy;
  } else {
    const bool excused =
        health.status == HealthStatus::starting && result.start - data.state.started_at < check.start_period;
    if (!excused) {
      ++health.failing_streak;
      if (health.failing_streak >= (check.retries > 0 ? check.retries : 3)) health.status = HealthStatus::unhealthy;
    }
  }
  health.log.push_back(std::move(result));
  while (health.log.size() > kept_probes) health.log.pop_front();
  return health.status != before;
}

}  // namespace

void EngineImpl::start_health(const ContainerRef& container) {
  std::uint64_t generation = 0;
  std::chrono::nanoseconds delay{};
  const bool wanted = container->with([&](Container::Data& data) {
    if (!data.run || data.state.paused() || probe_command(data.definition->config).empty()) return false;
    if (!data.state.health) {
      data.state.health = Health{HealthStatus::starting, 0, {}};
      container->publish(false);
    }
    data.health.active = true;
    data.health.probing = false;
    generation = ++data.health.generation;
    delay = interval_of(data);
    return true;
  });
  if (wanted) schedule_probe(container, generation, delay);
}

Timers::Id EngineImpl::stop_health(Container::Data& data) {
  data.health.active = false;
  ++data.health.generation;
  // The end of a container is no verdict on its health: the last one stays to be seen.
  return std::exchange(data.health.timer, 0);
}

void EngineImpl::schedule_probe(const ContainerRef& container, std::uint64_t generation,
                                std::chrono::nanoseconds delay) {
  const std::weak_ptr<Container> weak = container;
  const auto timer = timers_.after(delay, [this, weak, generation] {
    if (const auto strong = weak.lock()) probe(strong, generation);
  });
  const bool current = container->with([&](Container::Data& data) {
    if (data.health.generation != generation) return false;
    data.health.timer = timer;
    return true;
  });
  if (!current) timers_.cancel(timer);
}

void EngineImpl::probe(const ContainerRef& container, std::uint64_t generation) {
  ExecConfig config;
  std::chrono::nanoseconds limit{};
  const bool wanted = container->with([&](Container::Data& data) {
    if (data.health.generation != generation || !data.health.active) return false;
    data.health.timer = 0;
    data.health.probing = true;
    config.cmd = probe_command(data.definition->config);
    limit = or_default(data.definition->config.healthcheck->timeout, 30s);
    return true;
  });
  if (!wanted || shutting_down_) return;

  std::array<int, 2> pipe_fds{-1, -1};
  if (::pipe2(pipe_fds.data(), O_CLOEXEC | O_NONBLOCK) != 0) {
    log::warn("container {}: health check: no pipe", short_id(container->id()));
    return schedule_probe(container, generation, 30s);
  }
  auto running = std::make_shared<Probe>();
  running->output = UniqueFd(pipe_fds[0]);
  const UniqueFd write_end(pipe_fds[1]);
  running->begun = now();
  config.attach_stdout = config.attach_stderr = true;
  const auto exec = add_exec(container, std::move(config), true);
  running->exec_id = exec->id;

  const auto ended = [this, container, generation, running](int exit_code) {
    if (!end_once(*running)) return;
    timers_.cancel(running->timeout);
    // The shim reports an end before the last output may be in the pipe; a moment later it is.
    timers_.after(20ms, [this, container, generation, running, exit_code, end = now()] {
      probe_ended(container, generation, result_of(*running, end, exit_code));
    });
  };
  {
    const MutexLock lock(exec->mutex);
    exec->on_end = ended;
  }
  running->timeout = timers_.after(limit, [this, container, generation, running, limit] {
    if (!end_once(*running)) return;
    if (const auto client = client_of(*container)) (void)(*client)->signal(running->exec_id, SIGKILL);
    std::string text = fmt::format("Health check exceeded timeout ({})", go_duration(limit));
    if (const auto output = read_output(running->output.get()); !output.empty()) text += ": " + output;
    probe_ended(container, generation, {running->begun, now(), -1, std::move(text)});
  });

  shimproto::AttachSpec attach;
  attach.fd = write_end.get();
  attach.want_stdout = attach.want_stderr = true;
  if (auto ran = run_exec(container, exec, std::move(attach), 0, 0); !ran) {
    // finish_exec() has called `ended`; the timer that it has set finds the reason here.
    const MutexLock lock(running->mutex);
    running->failure = ran.error().text();
  }
}

void EngineImpl::probe_ended(const ContainerRef& container, std::uint64_t generation, HealthProbe result) {
  HealthStatus status = HealthStatus::none;
  std::chrono::nanoseconds delay{};
  bool changed = false;
  const bool current = container->with([&](Container::Data& data) {
    if (data.health.generation != generation || !data.health.active || !data.state.health) return false;
    data.health.probing = false;
    changed = apply(data, std::move(result));
    status = data.state.health->status;
    delay = interval_of(data);
    container->publish(false);
    return true;
  });
  if (!current) return;
  if (changed) emit(*container->view()->definition, fmt::format("health_status: {}", to_string(status)));
  schedule_probe(container, generation, delay);
}

}  // namespace corten::engine
