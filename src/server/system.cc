// Routes about the daemon itself: ping, version, info, events, disk usage.
#include <algorithm>
#include <array>
#include <set>

#include "json/codec.h"
#include "server/build_cache.h"
#include "server/container_json.h"
#include "server/filters.h"
#include "server/router.h"
#include "server/volume_json.h"

namespace corten::server {
namespace {

using json::Array;
using json::Object;
using json::Value;

Result<> ping(Call& call) {
  http::Headers& headers = call.response.headers();
  headers.set("Builder-Version", "1");
  headers.set("Swarm", "inactive");
  headers.set("Cache-Control", "no-cache, no-store, must-revalidate");
  headers.set("Pragma", "no-cache");
  return call.response.write_all(200, call.request.method == "HEAD" ? "" : "OK", "text/plain; charset=utf-8");
}

Result<> version(Call& call) {
  const DaemonInfo info = call.services.info();
  const Object details{{"ApiVersion", maximum_version.text()},
                       {"Arch", info.architecture},
                       {"BuildTime", info.build_time},
                       {"Experimental", "false"},
                       {"GitCommit", info.git_commit},
                       {"KernelVersion", info.kernel_version},
                       {"MinAPIVersion", minimum_version.text()},
                       {"Os", "linux"}};
  return call.answer(
      200, Object{{"Platform", Object{{"Name", "Corten"}}},
                  {"Components", Array{Object{{"Name", "Engine"}, {"Version", info.version}, {"Details", details}}}},
                  {"Version", info.version},
                  {"ApiVersion", maximum_version.text()},
                  {"MinAPIVersion", minimum_version.text()},
                  {"GitCommit", info.git_commit},
                  {"Os", "linux"},
                  {"Arch", info.architecture},
                  {"KernelVersion", info.kernel_version},
                  {"BuildTime", info.build_time}});
}

void add_container_counts(Object& object, const engine::Engine& engine) {
  int running = 0;
  int paused = 0;
  int stopped = 0;
  const auto containers = engine.list();
  for (const engine::ContainerPtr& container : containers) {
    if (container->state.paused())
      ++paused;
    else if (container->state.running())
      ++running;
    else
      ++stopped;
  }
  object["Containers"] = containers.size();
  object["ContainersRunning"] = running;
  object["ContainersPaused"] = paused;
  object["ContainersStopped"] = stopped;
}

void add_limits(Object& object, const engine::HostFeatures& features) {
  const sys::CgroupFeatures& can = features.cgroup;
  object["MemoryLimit"] = can.memory_limit;
  object["SwapLimit"] = can.swap_limit;
  object["KernelMemoryTCP"] = can.kernel_memory_tcp;
  object["CpuCfsPeriod"] = can.cpu_cfs;
  object["CpuCfsQuota"] = can.cpu_cfs;
  object["CPUShares"] = can.cpu_shares;
  object["CPUSet"] = can.cpuset;
  object["PidsLimit"] = can.pids_limit;
  object["OomKillDisable"] = can.oom_kill_disable;
}

// Registries by name, and what may be spoken to without verified TLS.
Object registry_config(const DaemonInfo& daemon) {
  Array prefixes{"::1/128", "127.0.0.0/8"};
  Object indexes{{"docker.io", Object{{"Name", "docker.io"},
                                      {"Mirrors", json::to_json(daemon.registry_mirrors)},
                                      {"Secure", true},
                                      {"Official", true}}}};
  for (const std::string& registry : daemon.insecure_registries) {
    if (registry.find('/') != std::string::npos)
      prefixes.emplace_back(registry);
    else
      indexes[registry] = Object{{"Name", registry}, {"Mirrors", Array()}, {"Secure", false}, {"Official", false}};
  }
  return Object{{"InsecureRegistryCIDRs", std::move(prefixes)},
                {"IndexConfigs", std::move(indexes)},
                {"Mirrors", json::to_json(daemon.registry_mirrors)}};
}

Result<> info(Call& call) {
  const DaemonInfo daemon = call.services.info();
  Object object{{"ID", daemon.id}};
  add_container_counts(object, call.services.engine);
  object["Images"] = call.services.images.count();
  object["Driver"] = daemon.storage_driver;
  Array storage;
  for (const auto& [name, value] : daemon.storage_status) storage.emplace_back(Array{name, value});
  object["DriverStatus"] = std::move(storage);
  object["Plugins"] = Object{{"Volume", Array{"local"}},
                             {"Network", Array{"bridge", "host", "null"}},
                             {"Authorization", nullptr},
                             {"Log", Array{"journald", "json-file", "local", "none", "syslog"}}};
  add_limits(object, daemon.features);
  object["IPv4Forwarding"] = true;
  object["Debug"] = daemon.debug;
  object["NFd"] = 0;
  object["NGoroutines"] = 0;
  object["SystemTime"] = format_rfc3339(now());
  object["LoggingDriver"] = daemon.default_log_driver;
  object["CgroupDriver"] = daemon.cgroup_driver;
  object["CgroupVersion"] = daemon.cgroup_version;
  object["NEventsListener"] = 0;
  object["KernelVersion"] = daemon.kernel_version;
  object["OperatingSystem"] = daemon.operating_system;
  object["OSVersion"] = daemon.os_version;
  object["OSType"] = "linux";
  object["Architecture"] = daemon.architecture == "amd64"   ? "x86_64"
                           : daemon.architecture == "arm64" ? "aarch64"
                                                            : daemon.architecture;
  object["IndexServerAddress"] = "https://index.docker.io/v1/";
  object["RegistryConfig"] = registry_config(daemon);
  object["NCPU"] = daemon.cpus;
  object["MemTotal"] = daemon.memory;
  object["GenericResources"] = nullptr;
  object["DockerRootDir"] = daemon.data_root;
  object["HttpProxy"] = daemon.http_proxy;
  object["HttpsProxy"] = daemon.https_proxy;
  object["NoProxy"] = daemon.no_proxy;
  object["Name"] = daemon.name;
  object["Labels"] = json::to_json(daemon.labels);
  object["ExperimentalBuild"] = false;
  object["ServerVersion"] = daemon.version;
  object["Runtimes"] = Object{{"corten", Object{{"path", "corten-shim"}}}};
  object["DefaultRuntime"] = "corten";
  object["Swarm"] =
      Object{{"NodeID", ""}, {"NodeAddr", ""},           {"LocalNodeState", "inactive"}, {"ControlAvailable", false},
             {"Error", ""},  {"RemoteManagers", nullptr}};
  object["LiveRestoreEnabled"] = daemon.live_restore;
  object["Isolation"] = "";
  object["InitBinary"] = "corten-init";
  object["ContainerdCommit"] = Object{{"ID", ""}};
  object["RuncCommit"] = Object{{"ID", ""}};
  object["InitCommit"] = Object{{"ID", daemon.git_commit}};
  object["SecurityOptions"] = json::to_json(daemon.security_options);
  object["CDISpecDirs"] = Array();
  object["Warnings"] = daemon.warnings.empty() ? Value(nullptr) : json::to_json(daemon.warnings);
  return call.answer(200, object);
}

// --- events

Value event_json(const engine::Event& event, ApiVersion version) {
  Object attributes;
  for (const auto& [name, value] : event.attributes) attributes[name] = value;
  const auto nanoseconds = event.time.time_since_epoch().count();
  Object object;
  // Fields of the time before types; containers and images had them.
  if (event.type == "container" || event.type == "image") {
    object["status"] = event.action;
    object["id"] = event.actor_id;
    const auto from = event.attributes.find(event.type == "container" ? "image" : "name");
    if (event.type == "container" && from != event.attributes.end()) object["from"] = from->second;
  }
  object["Type"] = event.type;
  object["Action"] = event.action;
  object["Actor"] = Object{{"ID", event.actor_id}, {"Attributes", std::move(attributes)}};
  if (version >= ApiVersion{1, 30}) object["scope"] = event.scope;
  object["time"] = nanoseconds / 1'000'000'000;
  object["timeNano"] = nanoseconds;
  return object;
}

std::string attribute(const engine::Event& event, const std::string& name) {
  const auto found = event.attributes.find(name);
  return found == event.attributes.end() ? "" : found->second;
}

// A filter that names an object matches its id, the start of it, or its name.
bool names_object(const engine::Event& event, const Filters& filters, std::string_view type) {
  const auto& wanted = filters.of(type);
  if (wanted.empty()) return true;
  if (event.type != type) return false;
  const std::string name = attribute(event, "name");
  return std::ranges::any_of(wanted, [&](const std::string& value) {
    return event.actor_id.starts_with(value) || name == value ||
           (type == "image" && name.substr(0, name.find(':')) == value);
  });
}

bool event_matches(const engine::Event& event, const Filters& filters) {
  // "exec_create: sh" is asked for as exec_create, "health_status: healthy" as either.
  const std::string action = event.action.substr(0, event.action.find(':'));
  if (filters.has("event") && !filters.exact("event", action) && !filters.exact("event", event.action)) return false;
  if (!filters.exact("type", event.type) || !filters.exact("scope", event.scope)) return false;
  for (const std::string_view type : {"container", "image", "volume", "network", "daemon"})
    if (!names_object(event, filters, type)) return false;
  return filters.labels(event.attributes);
}

Result<> events(Call& call) {
  const Filters filters =
      TRY(Filters::parse(call.query("filters"), {"config", "container", "daemon", "event", "image", "label", "network",
                                                 "node", "plugin", "scope", "secret", "service", "type", "volume"}));
  const auto time = [&](std::string_view name) -> Result<std::optional<Timestamp>> {
    const std::string text = call.query(name);
    if (text.empty()) return std::optional<Timestamp>();
    return std::optional<Timestamp>(TRY(parse_time_filter(text, now())));
  };
  const auto since = TRY(time("since"));
  const auto until = TRY(time("until"));
  if (since && until && *until < *since)
    return fail(ErrorKind::invalid, "`since` time ({}) cannot be after `until` time ({})", call.query("since"),
                call.query("until"));
  const std::stop_token stop = call.request.stop_token();
  CHECK(call.response.begin_stream(200, "application/json"));
  const auto deliver = [&](const engine::Event& event) -> Result<> {
    if (!event_matches(event, filters)) return {};
    return call.response.write(json::write(event_json(event, call.version)) + "\n");
  };
  return call.services.engine.events().listen(since, until, stop, deliver);
}

// --- disk usage

Array image_usage(Call& call, const image::UsageReport& usage) {
  std::map<std::string, image::ImageUsage> by_id;
  for (const image::ImageUsage& item : usage.images) by_id[item.id] = item;
  std::map<std::string, std::int64_t> users;
  for (const engine::ContainerPtr& container : call.services.engine.list()) ++users[container->definition->image_id];
  Array list;
  const auto images = call.services.images.list();
  if (!images) return list;
  for (const image::ImageSummary& summary : *images) {
    const image::Image& image = *summary.image;
    list.push_back(
        Object{{"Containers", users[image.id]},
               {"Created", std::chrono::floor<std::chrono::seconds>(image.created.time_since_epoch()).count()},
               {"Id", image.id},
               {"Labels", json::to_json(image.config.config.labels)},
               {"ParentId", image.parent},
               {"RepoDigests", json::to_json(summary.repo_digests)},
               {"RepoTags", json::to_json(summary.repo_tags)},
               {"SharedSize", by_id[image.id].shared},
               {"Size", image.size}});
  }
  return list;
}

Result<> disk_usage(Call& call) {
  const auto types = call.request.query.all("type");
  const auto wants = [&](std::string_view type) {
    return types.empty() || std::ranges::find(types, type) != types.end();
  };
  for (const std::string_view type : types)
    if (type != "container" && type != "image" && type != "volume" && type != "build-cache")
      return fail(ErrorKind::invalid, "unknown object type: {}", type);
  Object object;
  if (wants("image")) {
    const image::UsageReport usage = call.services.images.usage();
    object["LayersSize"] = usage.layers_size;
    object["Images"] = image_usage(call, usage);
  }
  if (wants("container")) {
    Array containers;
    for (const engine::ContainerPtr& container : call.services.engine.list()) {
      std::optional<engine::DiskUsage> size;
      if (auto usage = call.services.engine.disk_usage(container->id())) size = *usage;
      containers.push_back(container_summary(*container, call.services, call.version, size));
    }
    object["Containers"] = std::move(containers);
  }
  if (wants("volume")) {
    Array volumes;
    for (const volume::VolumeInfo& volume : call.services.volumes.list()) volumes.push_back(volume_json(volume, true));
    object["Volumes"] = std::move(volumes);
  }
  if (wants("build-cache")) {
    object["BuildCache"] = build_cache_rows(call);
    if (call.version < ApiVersion{1, 42}) object["BuilderSize"] = build_cache_size(call);
  }
  return call.answer(200, object);
}

constexpr std::array table{
    Route{"GET", "/_ping", ping}, Route{"HEAD", "/_ping", ping},   Route{"GET", "/version", version},
    Route{"GET", "/info", info},  Route{"GET", "/events", events}, Route{"GET", "/system/df", disk_usage},
};

}  // namespace

std::span<const Route> system_routes() { return table; }

}  // namespace corten::server
