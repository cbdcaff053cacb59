// Routes of images.
#include <algorithm>
#include <array>

#include "image/changes.h"
#include "json/codec.h"
#include "server/filters.h"
#include "server/image_routes.h"
#include "server/progress_stream.h"
#include "server/router.h"

namespace corten::server {
namespace {

using json::Array;
using json::Object;
using json::Value;

// The request's body as a source of bytes.
class BodySource : public store::ByteSource {
 public:
  explicit BodySource(http::Request& request) : request_(request) {}
  Result<std::size_t> read(std::span<std::byte> buffer) override { return request_.read(buffer); }

 private:
  http::Request& request_;
};

// The answer's body as a sink. Nothing is sent before begin(), so that an error before it keeps its status.
class BodySink : public store::ByteSink {
 public:
  BodySink(http::ResponseWriter& response, std::string_view type) : response_(response), type_(type) {}
  Result<> begin(std::uint64_t size) { return response_.begin_stream(200, type_, size); }
  Result<> write(std::span<const std::byte> bytes) override {
    return response_.write({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  }
  Result<> write_file(int fd, std::uint64_t offset, std::uint64_t count) override {
    return response_.write_file(fd, offset, count);
  }

 private:
  http::ResponseWriter& response_;
  std::string type_;
};

// Since API 1.48; older clients' parameter of that name means nothing here.
Result<std::optional<oci::Platform>> wanted_platform(const Call& call) {
  const std::string text = call.query("platform");
  if (text.empty() || call.version < ApiVersion{1, 48}) return std::nullopt;
  return parse_platform_json(text);
}

// An image has one platform; of another one that is asked for there is nothing to tell or to remove.
Result<> check_platform(const Call& call, const oci::Platform& wanted) {
  const image::ImagePtr image = TRY(call.services.images.resolve(call.path("name")));
  return oci::require_platform(wanted, image->config.platform, call.path("name"));
}

// As their root or as a mount.
bool uses(const engine::Definition& definition, const std::string& image_id) {
  return definition.image_id == image_id ||
         std::ranges::any_of(definition.mounts, [&](const engine::MountPoint& mount) {
           return mount.type == "image" && mount.source == image_id;
         });
}

std::vector<image::ImageUser> users_of(const engine::Engine& engine, const std::string& image_id) {
  std::vector<image::ImageUser> users;
  for (const engine::ContainerPtr& container : engine.list())
    if (uses(*container->definition, image_id)) users.push_back({container->id(), container->state.running()});
  return users;
}

image::UsersOf users_lookup(const Call& call) {
  return [&engine = call.services.engine](const std::string& image_id) { return users_of(engine, image_id); };
}

std::int64_t unix_seconds(Timestamp time) {
  return std::chrono::floor<std::chrono::seconds>(time.time_since_epoch()).count();
}

Result<image::ListOptions> list_options(const Call& call) {
  const Filters filters =
      TRY(Filters::parse(call.query("filters"), {"before", "dangling", "label", "reference", "since", "until"}));
  image::ListOptions options;
  options.all = call.flag("all");
  if (filters.has("dangling")) options.dangling = TRY(filters.boolean("dangling", false));
  options.references = filters.of("reference");
  options.labels = filters.of("label");
  if (filters.has("before")) options.before = filters.of("before")[0];
  if (filters.has("since")) options.since = filters.of("since")[0];
  if (filters.has("until")) options.until = TRY(parse_time_filter(filters.of("until")[0], now()));
  // Before filters had it, the reference was a parameter of its own.
  if (call.version < ApiVersion{1, 25} && !call.query("filter").empty())
    options.references.push_back(call.query("filter"));
  return options;
}

Value summary_json(const image::ImageSummary& summary, ApiVersion version, std::int64_t containers,
                   std::int64_t shared) {
  const image::Image& image = *summary.image;
  Object object{
      {"Containers", containers},
      {"Created", unix_seconds(image.created)},
      {"Id", image.id},
      {"Labels", image.config.config.labels.empty() ? Value(nullptr) : json::to_json(image.config.config.labels)},
      {"ParentId", image.parent},
      {"RepoDigests", json::to_json(summary.repo_digests)},
      {"RepoTags", json::to_json(summary.repo_tags)},
      {"SharedSize", shared},
      {"Size", image.size}};
  if (version < ApiVersion{1, 44}) object["VirtualSize"] = image.size;
  if (version < ApiVersion{1, 43}) {
    // Older clients print what they find; newer ones know an empty list.
    if (summary.repo_tags.empty()) object["RepoTags"] = Array{"<none>:<none>"};
    if (summary.repo_digests.empty()) object["RepoDigests"] = Array{"<none>@<none>"};
  }
  return object;
}

Result<> list(Call& call) {
  const auto options = TRY(list_options(call));
  std::map<std::string, std::int64_t> shared;
  if (call.flag("shared-size"))
    for (const image::ImageUsage& usage : call.services.images.usage().images)
      shared[usage.id] = static_cast<std::int64_t>(usage.shared);
  Array array;
  for (const image::ImageSummary& summary : TRY(call.services.images.list(options))) {
    const auto found = shared.find(summary.image->id);
    array.push_back(summary_json(summary, call.version, -1, found == shared.end() ? -1 : found->second));
  }
  return call.answer(200, array);
}

// Docker's Config of an image: the run configuration with all the fields of a container's.
Value config_json(const oci::RunConfig& run) {
  Object config = json::to_json(run).as_object();
  const auto ensure = [&](const char* name, Value value) {
    if (!config.contains(name)) config[name] = std::move(value);
  };
  ensure("Env", nullptr);
  ensure("Cmd", nullptr);
  ensure("Entrypoint", nullptr);
  ensure("Volumes", nullptr);
  ensure("WorkingDir", "");
  ensure("OnBuild", nullptr);
  ensure("Labels", nullptr);
  ensure("User", "");
  return config;
}

Result<> inspect(Call& call) {
  if (const auto wanted = TRY(wanted_platform(call))) CHECK(check_platform(call, *wanted));
  const image::ImageSummary summary = TRY(call.services.images.summary(call.path("name")));
  const image::Image& image = *summary.image;
  const oci::ImageConfig& config = image.config;
  Object driver_data;
  for (const auto& [name, path] : call.services.store.snapshots().describe(image.chain_id)) driver_data[name] = path;
  Object object{{"Id", image.id},
                {"RepoTags", json::to_json(summary.repo_tags)},
                {"RepoDigests", json::to_json(summary.repo_digests)},
                {"Parent", image.parent},
                {"Comment", config.history.empty() ? "" : config.history.back().comment},
                {"Created", config.created},
                {"DockerVersion", config.docker_version},
                {"Author", config.author},
                {"Config", config_json(config.config)},
                {"Architecture", config.platform.architecture}};
  if (!config.platform.variant.empty()) object["Variant"] = config.platform.variant;
  object["Os"] = config.platform.os;
  if (!config.platform.os_version.empty()) object["OsVersion"] = config.platform.os_version;
  object["Size"] = image.size;
  if (call.version < ApiVersion{1, 44}) object["VirtualSize"] = image.size;
  object["GraphDriver"] = Object{{"Data", std::move(driver_data)}, {"Name", "overlay2"}};
  object["RootFS"] = Object{{"Type", config.rootfs.type}, {"Layers", json::to_json(config.rootfs.diff_ids)}};
  object["Metadata"] = Object{{"LastTagTime", format_rfc3339(image.tagged)}};
  if (call.version >= ApiVersion{1, 48})
    object["Descriptor"] = Object{{"mediaType", image.manifest.media_type}, {"digest", image.manifest_digest}};
  return call.answer(200, object);
}

Result<> history(Call& call) {
  if (const auto wanted = TRY(wanted_platform(call))) CHECK(check_platform(call, *wanted));
  Array array;
  for (const image::HistoryItem& item : TRY(call.services.images.history(call.path("name"))))
    array.push_back(Object{{"Comment", item.comment},
                           {"Created", item.created},
                           {"CreatedBy", item.created_by},
                           {"Id", item.id},
                           {"Size", item.size},
                           {"Tags", item.tags.empty() ? Value(nullptr) : json::to_json(item.tags)}});
  return call.answer(200, array);
}

void publish(Call& call, std::string_view action, const std::string& id, const std::string& name) {
  engine::Event event;
  event.type = "image";
  event.action = action;
  event.actor_id = id;
  event.attributes["name"] = name;
  call.services.engine.events().publish(std::move(event));
}

Result<> tag(Call& call) {
  const std::string repository = call.query("repo");
  if (repository.empty()) return fail(ErrorKind::invalid, "invalid reference format: the repository is missing");
  const std::string target = call.query("tag").empty() ? repository : repository + ":" + call.query("tag");
  CHECK(call.services.images.tag(call.path("name"), target));
  const image::ImagePtr image = TRY(call.services.images.resolve(call.path("name")));
  publish(call, "tag", image->id, target);
  return call.response.write_empty(201);
}

Array deleted_items(Call& call, const std::vector<image::DeleteItem>& items) {
  Array array;
  for (const image::DeleteItem& item : items) {
    array.push_back(Object{{item.untagged ? "Untagged" : "Deleted", item.what}});
    publish(call, item.untagged ? "untag" : "delete", item.what, item.what);
  }
  return array;
}

Result<> remove(Call& call) {
  for (const std::string_view platform : call.request.query.all("platforms"))
    CHECK(check_platform(call, TRY(parse_platform_json(platform))));
  image::RemoveOptions options;
  options.force = call.flag("force");
  options.prune_parents = !call.flag("noprune");
  options.users = users_lookup(call);
  const auto items = TRY(call.services.images.remove(call.path("name"), options));
  return call.answer(200, deleted_items(call, items));
}

Result<> prune(Call& call) {
  const Filters filters = TRY(Filters::parse(call.query("filters"), {"dangling", "label", "label!", "until"}));
  image::PruneOptions options;
  options.dangling_only = TRY(filters.boolean("dangling", true));
  options.users = users_lookup(call);
  std::optional<Timestamp> until;
  if (filters.has("until")) until = TRY(parse_time_filter(filters.of("until")[0], now()));
  const auto wanted = [&](const image::ImageSummary& summary) {
    const auto& labels = summary.image->config.config.labels;
    const auto unwanted = [&](const std::string& label) { return label_matches(labels, label); };
    return filters.labels(labels) && (!until || summary.image->created < *until) &&
           std::ranges::none_of(filters.of("label!"), unwanted);
  };
  if (until || filters.has("label") || filters.has("label!")) options.wanted = wanted;
  const image::PruneReport report = TRY(call.services.images.prune(options));
  const Array items = deleted_items(call, report.items);
  return call.answer(200, Object{{"ImagesDeleted", items.empty() ? Value(nullptr) : Value(items)},
                                 {"SpaceReclaimed", report.space_reclaimed}});
}

// A source that is a web address would make the daemon fetch what a client names; that belongs to pulling.
Result<> import(Call& call) {
  if (call.query("fromSrc") != "-")
    return fail(ErrorKind::not_implemented,
                "import from a web address is not supported: fetch it and import it from standard input");
  image::ImportOptions options;
  options.reference = call.query("repo");
  if (!options.reference.empty() && !call.query("tag").empty()) options.reference += ":" + call.query("tag");
  options.message = call.query("message");
  if (!call.query("platform").empty()) options.platform = TRY(oci::parse_platform(call.query("platform")));
  std::vector<std::string> changes;
  for (const std::string_view change : call.request.query.all("changes")) changes.emplace_back(change);
  CHECK(image::apply_changes(options.config, changes));
  BodySource source(call.request);
  const std::string id = TRY(call.services.images.import(source, options));
  publish(call, "import", id, options.reference.empty() ? id : options.reference);
  CHECK(call.response.begin_stream(200, "application/json"));
  return call.response.write(json::write(Object{{"status", id}}) + "\r\n");
}

Result<> create(Call& call) { return call.query("fromSrc").empty() ? pull_image(call) : import(call); }

Result<> load(Call& call) {
  BodySource source(call.request);
  image::LoadOptions options;
  options.platform = TRY(wanted_platform(call));
  ProgressStream stream(call);
  options.progress = [&](std::string_view text) { stream.line(Object{{"stream", std::string(text) + "\n"}}); };
  options.loaded = [&](const std::string& id) { publish(call, "load", id, id); };
  if (!call.flag("quiet"))
    options.layer = [&](std::string_view id, std::uint64_t current, std::uint64_t total) {
      stream.event({.id = std::string(id), .status = "Loading layer", .current = current, .total = total});
    };
  const auto names = call.services.images.load(source, options);
  if (!names) return stream.finish(std::unexpected(names.error()));
  return call.response.head_sent() ? stream.finish({}) : call.response.begin_stream(200, "application/json");
}

Result<> save_names(Call& call, const std::vector<std::string>& names) {
  BodySink sink(call.response, "application/x-tar");
  image::SaveOptions options;
  options.platform = TRY(wanted_platform(call));
  options.begin = [&](std::uint64_t size) { return sink.begin(size); };
  CHECK(call.services.images.save(names, sink, options));
  for (const std::string& name : names)
    if (const auto image = call.services.images.resolve(name)) publish(call, "save", (*image)->id, (*image)->id);
  return {};
}

Result<> save(Call& call) {
  std::vector<std::string> names;
  for (const std::string_view name : call.request.query.all("names")) names.emplace_back(name);
  if (names.empty()) return fail(ErrorKind::invalid, "no image was named");
  return save_names(call, names);
}

Result<> save_one(Call& call) { return save_names(call, {call.path("name")}); }

Result<> commit(Call& call) {
  const std::string container = call.query("container");
  if (container.empty()) return fail(ErrorKind::invalid, "no container was named");
  engine::CommitRequest request;
  request.repository = call.query("repo");
  request.tag = call.query("tag");
  request.comment = call.query("comment");
  request.author = call.query("author");
  request.pause = call.flag("pause", true);
  for (const std::string_view change : call.request.query.all("changes")) request.changes.emplace_back(change);
  if (const std::string text = TRY(call.request.read_all()); !text.empty() && text != "null\n" && text != "null")
    request.config = TRY(json::from_text<spec::ContainerConfig>(text));
  const std::string id = TRY(call.services.engine.commit(container, std::move(request)));
  return call.answer(201, Object{{"Id", id}});
}

constexpr std::array table{
    Route{"GET", "/images/json", list},
    Route{"POST", "/images/create", create},
    Route{"POST", "/images/load", load},
    Route{"POST", "/images/prune", prune},
    Route{"GET", "/images/get", save},
    Route{"GET", "/images/{name...}/get", save_one},
    Route{"GET", "/images/{name...}/json", inspect},
    Route{"GET", "/images/{name...}/history", history},
    Route{"POST", "/images/{name...}/tag", tag},
    Route{"DELETE", "/images/{name...}", remove},
    Route{"POST", "/commit", commit},
};

}  // namespace

std::span<const Route> image_routes() { return table; }

}  // namespace corten::server
