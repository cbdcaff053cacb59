// Routes of a container's life.
#include <algorithm>
#include <array>
#include <thread>

#include "base/mutex.h"
#include "json/codec.h"
#include "server/container_filters.h"
#include "server/container_json.h"
#include "server/router.h"
#include "server/stats_json.h"

namespace corten::server {
namespace {

using json::Array;
using json::Object;

Result<> list(Call& call) {
  const Filters filters = TRY(Filters::parse(
      call.query("filters"), {"ancestor", "before", "expose", "exited", "health", "id", "isolation", "is-task", "label",
                              "name", "network", "publish", "since", "status", "volume"}));
  engine::Engine& engine = call.services.engine;
  const ContainerFilter filter = TRY(
      compile_container_filter(filters, call.services.images, [&](std::string_view ref) { return engine.find(ref); }));
  const std::int64_t limit = TRY(call.number("limit", 0));
  const bool all = call.flag("all") || limit > 0 || filter.says_status;
  const bool with_size = call.flag("size");
  const Timestamp reference = now();
  std::string text = "[";
  std::int64_t count = 0;
  for (const engine::ContainerPtr& container : engine.list()) {
    if (!all && !container->state.running()) continue;
    if (filter.matches && !filter.matches(*container)) continue;
    std::optional<engine::DiskUsage> size;
    if (with_size)
      if (auto usage = engine.disk_usage(container->id())) size = *usage;
    if (count > 0) text += ',';
    append_summary(text, *container, call.services, call.version, size, reference);
    if (++count == limit) break;
  }
  return call.response.write_all(200, text += "]\n");
}

// The body of create is a ContainerConfig with two further members.
struct CreateBody : spec::ContainerConfig {
  spec::HostConfig host_config;
  spec::NetworkingConfig networking;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    spec::ContainerConfig::fields(self, visit);
    visit("HostConfig", self.host_config);
    visit("NetworkingConfig", self.networking);
  }
};

Result<> create(Call& call) {
  auto body = TRY(call.body_as<CreateBody>());
  engine::CreateRequest request;
  request.name = call.query("name");
  request.platform = call.query("platform");
  request.config = static_cast<spec::ContainerConfig&>(body);
  request.host_config = std::move(body.host_config);
  request.networking = std::move(body.networking);
  // What older clients never knew must not change under them.
  if (call.version < ApiVersion{1, 40} && request.host_config.ipc_mode.empty())
    request.host_config.ipc_mode = "shareable";
  if (call.version < ApiVersion{1, 41} && request.host_config.cgroupns_mode.empty())
    request.host_config.cgroupns_mode = "host";
  const engine::Created created = TRY(call.services.engine.create(std::move(request)));
  return call.answer(201, Object{{"Id", created.id}, {"Warnings", json::to_json(created.warnings)}});
}

Result<> inspect(Call& call) {
  const engine::ContainerPtr container = TRY(call.services.engine.find(call.path("id")));
  std::optional<engine::DiskUsage> size;
  if (call.flag("size")) size = TRY(call.services.engine.disk_usage(container->id()));
  return call.answer(200, container_inspect(*container, call.services, call.version, size));
}

Result<> start(Call& call) {
  CHECK(call.services.engine.start(call.path("id"), call.query("detachKeys")));
  return call.answer_empty();
}

Result<engine::StopOptions> stop_options(const Call& call) {
  engine::StopOptions options;
  options.signal = call.query("signal");
  // More than a few years is for ever, and must not overflow where a deadline is made of it.
  constexpr std::int64_t longest = 10LL * 365 * 24 * 3600;
  if (!call.query("t").empty()) options.timeout = std::chrono::seconds(std::min(TRY(call.number("t", 0)), longest));
  return options;
}

Result<> stop(Call& call) {
  const auto options = TRY(stop_options(call));
  CHECK(call.services.engine.stop(call.path("id"), options));
  return call.answer_empty();
}

Result<> restart(Call& call) {
  const auto options = TRY(stop_options(call));
  CHECK(call.services.engine.restart(call.path("id"), options));
  return call.answer_empty();
}

Result<> kill(Call& call) {
  CHECK(call.services.engine.kill(call.path("id"), call.query("signal")));
  return call.answer_empty();
}

Result<> pause(Call& call) {
  CHECK(call.services.engine.pause(call.path("id")));
  return call.answer_empty();
}

Result<> unpause(Call& call) {
  CHECK(call.services.engine.unpause(call.path("id")));
  return call.answer_empty();
}

Result<> rename(Call& call) {
  if (call.query("name").empty()) return fail(ErrorKind::invalid, "Neither old nor new names may be empty");
  CHECK(call.services.engine.rename(call.path("id"), call.query("name")));
  return call.answer_empty();
}

struct UpdateBody : spec::Resources {
  std::optional<spec::RestartPolicy> restart_policy;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    spec::Resources::fields(self, visit);
    visit("RestartPolicy", self.restart_policy);
  }
};

Result<> update(Call& call) {
  auto body = TRY(call.body_as<UpdateBody>());
  engine::UpdateRequest request;
  request.resources = static_cast<spec::Resources&>(body);
  request.restart_policy = std::move(body.restart_policy);
  const auto warnings = TRY(call.services.engine.update(call.path("id"), request));
  return call.answer(200, Object{{"Warnings", json::to_json(warnings)}});
}

Result<> remove(Call& call) {
  engine::RemoveOptions options;
  options.force = call.flag("force");
  options.volumes = call.flag("v");
  options.link = call.flag("link");
  CHECK(call.services.engine.remove(call.path("id"), options));
  return call.answer_empty();
}

Result<engine::WaitCondition> wait_condition(std::string_view text) {
  if (text.empty() || text == "not-running") return engine::WaitCondition::not_running;
  if (text == "next-exit") return engine::WaitCondition::next_exit;
  if (text == "removed") return engine::WaitCondition::removed;
  return fail(ErrorKind::invalid, "invalid condition: \"{}\"", text);
}

Result<> wait(Call& call) {
  const auto condition = TRY(wait_condition(call.query("condition")));
  const auto waiter = TRY(call.services.engine.register_wait(call.path("id"), condition));
  // The head goes out now: a client that sees it knows that nothing from here on can be missed.
  if (call.version >= ApiVersion{1, 30}) CHECK(call.response.begin_stream(200, "application/json"));
  const engine::WaitResult result = TRY(waiter->wait(call.request.stop_token()));
  Object body{{"StatusCode", result.exit_code}};
  if (!result.error.empty()) body["Error"] = Object{{"Message", result.error}};
  if (call.version < ApiVersion{1, 30}) return call.answer(200, body);
  return call.response.write(json::write(body) + "\n");
}

Result<> prune(Call& call) {
  const Filters filters = TRY(Filters::parse(call.query("filters"), {"label", "label!", "until"}));
  const auto matches = TRY(compile_prune_filter(filters));
  const engine::PruneResult result = TRY(call.services.engine.prune(matches));
  return call.answer(
      200, Object{{"ContainersDeleted", result.deleted.empty() ? json::Value(nullptr) : json::to_json(result.deleted)},
                  {"SpaceReclaimed", result.space_reclaimed}});
}

Result<> top(Call& call) {
  const std::string options = call.query("ps_args");
  const engine::TopResult result = TRY(call.services.engine.top(call.path("id"), options));
  return call.answer(200,
                     Object{{"Titles", json::to_json(result.titles)}, {"Processes", json::to_json(result.processes)}});
}

// A client that is gone ends the pause between two samples at once.
bool pause_until(std::stop_token stop, std::chrono::steady_clock::time_point time) {
  Mutex mutex;  // guards nothing: a wait wants one
  StopCondVar wake;
  MutexLock lock(mutex);
  return !wake.wait_until(lock, stop, time, [&] { return stop.stop_requested(); });
}

Result<> stats(Call& call) {
  using namespace std::chrono_literals;
  engine::Engine& engine = call.services.engine;
  const engine::ContainerPtr container = TRY(engine.find(call.path("id")));
  const bool stream = call.flag("stream", true);
  const bool one_shot = call.flag("one-shot");
  if (stream && one_shot) return fail(ErrorKind::invalid, "cannot have stream=true and one-shot=true");
  std::shared_ptr<const engine::StatsSample> previous;
  if (!stream && !one_shot) {
    previous = TRY(engine.stats(container->id()));
    if (previous->running) pause_until(call.request.stop_token(), std::chrono::steady_clock::now() + 1s);
  }
  if (!stream) {
    const auto sample = TRY(engine.stats(container->id()));
    return call.answer(200, stats_json(*sample, previous.get(), *container, call.version));
  }
  const std::stop_token stop = call.request.stop_token();
  CHECK(call.response.begin_stream(200, "application/json"));
  auto next = std::chrono::steady_clock::now();
  while (!stop.stop_requested()) {
    const auto sample = engine.stats(container->id());
    if (!sample) return {};  // removed
    CHECK(call.response.write(json::write(stats_json(**sample, previous.get(), *container, call.version)) + "\n"));
    previous = *sample;
    next += 1s;
    if (!pause_until(stop, next)) break;
  }
  return {};
}

constexpr std::array table{
    Route{"GET", "/containers/json", list},
    Route{"POST", "/containers/create", create},
    Route{"POST", "/containers/prune", prune},
    Route{"GET", "/containers/{id}/json", inspect},
    Route{"GET", "/containers/{id}/top", top},
    Route{"GET", "/containers/{id}/stats", stats},
    Route{"POST", "/containers/{id}/start", start},
    Route{"POST", "/containers/{id}/stop", stop},
    Route{"POST", "/containers/{id}/restart", restart},
    Route{"POST", "/containers/{id}/kill", kill},
    Route{"POST", "/containers/{id}/pause", pause},
    Route{"POST", "/containers/{id}/unpause", unpause},
    Route{"POST", "/containers/{id}/rename", rename},
    Route{"POST", "/containers/{id}/update", update},
    Route{"POST", "/containers/{id}/wait", wait},
    Route{"DELETE", "/containers/{id}", remove},
};

}  // namespace

std::span<const Route> container_routes() { return table; }

}  // namespace corten::server
