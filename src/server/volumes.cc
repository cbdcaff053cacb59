// Routes of volumes.
#include <fcntl.h>

#include <algorithm>
#include <array>

#include "base/unique_fd.h"
#include "json/codec.h"
#include "server/filters.h"
#include "server/router.h"
#include "server/volume_json.h"
#include "store/tree.h"

namespace corten::server {
namespace {

using json::Array;
using json::Object;

// As allocated; -1 where it cannot be told. By descriptors: containers write here, and may have nested directories by
// the thousand or put links in the way.
std::int64_t size_of(const std::string& path) {
  const UniqueFd directory(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory) return -1;
  const auto usage = store::disk_usage(directory.get());
  return usage ? static_cast<std::int64_t>(usage->bytes) : -1;
}

struct CreateBody {
  std::string name;
  std::string driver;
  std::map<std::string, std::string> driver_opts;
  std::map<std::string, std::string> labels;
  json::Value cluster;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit("Name", self.name);
    visit("Driver", self.driver);
    visit("DriverOpts", self.driver_opts);
    visit("Labels", self.labels);
    visit("ClusterVolumeSpec", self.cluster);
  }
};

void publish(Call& call, std::string_view action, const std::string& name) {
  engine::Event event;
  event.type = "volume";
  event.action = action;
  event.actor_id = name;
  event.attributes["driver"] = "local";
  call.services.engine.events().publish(std::move(event));
}

Result<> list(Call& call) {
  const Filters filters = TRY(Filters::parse(call.query("filters"), {"dangling", "driver", "label", "name"}));
  const bool dangling_said = filters.has("dangling");
  const bool dangling = TRY(filters.boolean("dangling", false));
  Array volumes;
  for (const volume::VolumeInfo& volume : call.services.volumes.list()) {
    const auto& names = filters.of("name");
    const auto named = [&](const std::string& name) { return volume.name.find(name) != std::string::npos; };
    if (!names.empty() && std::ranges::none_of(names, named)) continue;
    if (!filters.exact("driver", volume.driver) || !filters.labels(volume.labels)) continue;
    if (dangling_said && dangling != (volume.references == 0)) continue;
    volumes.push_back(volume_json(volume, false));
  }
  return call.answer(200, Object{{"Volumes", std::move(volumes)}, {"Warnings", nullptr}});
}

Result<> create(Call& call) {
  auto body = TRY(call.body_as<CreateBody>());
  const bool known = !body.name.empty() && call.services.volumes.get(body.name).has_value();
  const volume::VolumeInfo volume =
      TRY(call.services.volumes.create({body.name, body.driver, std::move(body.labels), std::move(body.driver_opts)}));
  if (!known) publish(call, "create", volume.name);
  return call.answer(201, volume_json(volume, false));
}

Result<> inspect(Call& call) {
  const volume::VolumeInfo volume = TRY(call.services.volumes.get(call.path("name")));
  return call.answer(200, volume_json(volume, false));
}

Result<> remove(Call& call) {
  const bool known = call.services.volumes.get(call.path("name")).has_value();
  CHECK(call.services.volumes.remove(call.path("name"), call.flag("force")));
  if (known) publish(call, "destroy", call.path("name"));
  return call.answer_empty();
}

Result<> prune(Call& call) {
  const Filters filters = TRY(Filters::parse(call.query("filters"), {"all", "label", "label!"}));
  // Since API 1.42 only anonymous volumes go unless all are asked for.
  const bool all = TRY(filters.boolean("all", call.version < ApiVersion{1, 42}));
  Array deleted;
  std::uint64_t reclaimed = 0;
  for (const volume::VolumeInfo& volume : call.services.volumes.list()) {
    const auto unwanted = [&](const std::string& label) { return label_matches(volume.labels, label); };
    if (volume.references != 0 || (!all && !volume.anonymous) || !filters.labels(volume.labels) ||
        std::ranges::any_of(filters.of("label!"), unwanted))
      continue;
    const std::int64_t size = size_of(volume.mountpoint);
    // Somebody may have begun to use it since the list was made; then it stays.
    if (!call.services.volumes.remove(volume.name)) continue;
    publish(call, "destroy", volume.name);
    deleted.push_back(json::Value(volume.name));
    if (size > 0) reclaimed += static_cast<std::uint64_t>(size);
  }
  return call.answer(200, Object{{"VolumesDeleted", std::move(deleted)}, {"SpaceReclaimed", reclaimed}});
}

constexpr std::array table{
    Route{"GET", "/volumes", list},
    Route{"POST", "/volumes/create", create},
    Route{"POST", "/volumes/prune", prune},
    Route{"GET", "/volumes/{name}", inspect},
    Route{"DELETE", "/volumes/{name}", remove},
};

}  // namespace

json::Value volume_json(const volume::VolumeInfo& volume, bool with_usage) {
  Object object{{"CreatedAt", format_rfc3339(std::chrono::floor<std::chrono::seconds>(volume.created))},
                {"Driver", volume.driver},
                {"Labels", volume.labels.empty() ? json::Value(nullptr) : json::to_json(volume.labels)},
                {"Mountpoint", volume.mountpoint},
                {"Name", volume.name},
                {"Options", volume.options.empty() ? json::Value(nullptr) : json::to_json(volume.options)},
                {"Scope", "local"}};
  if (with_usage) object["UsageData"] = Object{{"RefCount", volume.references}, {"Size", size_of(volume.mountpoint)}};
  return object;
}

std::span<const Route> volume_routes() { return table; }

}  // namespace corten::server
