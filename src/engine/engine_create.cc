// `create`: from a request to a recorded container with a snapshot, or to nothing at all.
#include <sys/stat.h>

#include "base/log.h"
#include "engine/engine_impl.h"
#include "engine/failpoint.h"
#include "engine/links.h"
#include "engine/names.h"
#include "engine/platform.h"
#include "engine/record.h"
#include "engine/step.h"
#include "image/images.h"
#include "store/store.h"
#include "sys/files.h"
#include "volume/volumes.h"

namespace corten::engine {

// Owns what a creation has made so far; keep() gives it to the container.
class CreateAttempt {
 public:
  CreateAttempt(EngineImpl& engine, std::string id) : engine_(engine), id_(std::move(id)) {}
  CreateAttempt(const CreateAttempt&) = delete;
  CreateAttempt& operator=(const CreateAttempt&) = delete;
  ~CreateAttempt() {
    if (kept_) return;
    if (recorded_) drop(engine_.store_.database().delete_container(id_));
    if (has_snapshot_) drop(engine_.store_.snapshots().remove(id_));
    if (has_directory_) drop(sys::remove_tree(engine_.layout_.container(id_)));
    release_volumes();
    if (!name_.empty()) engine_.registry_.release(name_, id_);
  }

  Result<std::string> take_name(const std::string& wanted) {
    if (!wanted.empty()) {
      auto name = TRY(check_name(wanted));
      CHECK(engine_.registry_.reserve(name, id_));
      return name_ = std::move(name);
    }
    for (unsigned attempt = 0; attempt < 100; ++attempt) {
      auto name = random_name(attempt);
      if (engine_.registry_.reserve(name, id_)) return name_ = std::move(name);
    }
    return fail(ErrorKind::exhausted, "create a container: no free name found, give one with --name");
  }

  Result<> resolve_volumes(const spec::ContainerConfig& config, const spec::HostConfig& host_config) {
    has_volumes_ = true;
    const auto find = [this](const std::string& ref) -> Result<std::vector<MountDetail>> {
      const auto other = TRY(engine_.registry_.find(ref));
      return other->with([](Container::Data& data) { return *data.mounts; });
    };
    mounts_ = TRY(resolve_mounts(id_, config, host_config, engine_.volumes_, engine_.images_, find));
    return {};
  }

  Result<> resolve_step(BuildStep& step) {
    mounts_ = TRY(resolve_step_mounts(step.mounts));
    return {};
  }

  // Images that are mounted are looked at like the one that is the root. --volumes-from brings those of others.
  Result<> admit_mounts() const {
    if (!engine_.admit_) return {};
    for (const MountDetail& mount : mounts_.details)
      if (mount.type == "image") CHECK(engine_.admit_(*TRY(engine_.images_.resolve(mount.image_id))));
    return {};
  }

  Result<> make_directory() {
    const std::string path = engine_.layout_.container(id_);
    if (::mkdir(path.c_str(), 0700) != 0) return sys_fail("create container directory {}", path);
    has_directory_ = true;
    return {};
  }

  Result<> take_snapshot(const std::string& chain_id) {
    CHECK(engine_.store_.snapshots().prepare(id_, chain_id));
    has_snapshot_ = true;
    return {};
  }

  // The file goes first: it is what a killed daemon's successor sees even if the database's last writes are lost.
  Result<> record(const Definition& definition) {
    std::string spec = encode_spec(definition, mounts_.details);
    CHECK(sys::write_file_atomic(engine_.layout_.record(id_), spec, 0600));
    failpoint("create.before_record");
    CHECK(engine_.store_.database().put_container({id_, definition.name, std::move(spec), encode_state({})}));
    recorded_ = true;
    return {};
  }

  const ResolvedMounts& mounts() const { return mounts_; }
  ResolvedMounts keep() {
    kept_ = true;
    return std::move(mounts_);
  }

 private:
  // Also after a resolve_mounts() that failed half way and therefore says nothing of what it has referenced.
  void release_volumes() {
    if (!has_volumes_) return;
    for (const auto& volume : engine_.volumes_.list()) {
      engine_.volumes_.release(volume.name, id_);
      // An anonymous one that nobody uses and that is as young as this attempt was made for it.
      if (!volume.anonymous || volume.created < begun_) continue;
      const auto after = engine_.volumes_.get(volume.name);
      if (after && after->references == 0) drop(engine_.volumes_.remove(volume.name));
    }
  }
  void drop(Result<> result) {
    if (!result) log::warn("undo the creation of container {}: {}", short_id(id_), result.error().text());
  }

  EngineImpl& engine_;
  const std::string id_;
  std::string name_;
  ResolvedMounts mounts_;
  const Timestamp begun_ = now();
  bool has_volumes_ = false, has_directory_ = false, has_snapshot_ = false, recorded_ = false, kept_ = false;
};

namespace {

// "container:NAME" becomes "container:ID", so that a rename of the other does not matter later.
Result<> pin_container_mode(std::string& mode, const Registry& registry) {
  constexpr std::string_view prefix = "container:";
  if (!mode.starts_with(prefix)) return {};
  const auto other = TRY(registry.find(std::string_view(mode).substr(prefix.size())));
  mode = std::string(prefix) + other->id();
  return {};
}

// What the default bridge does not give, as Docker refuses it.
Result<> check_endpoints(const spec::NetworkingConfig& networking) {
  for (const auto& [network, endpoint] : networking.endpoints_config) {
    if (network != "bridge" && network != "default") continue;
    if (endpoint.ipam_config && !endpoint.ipam_config->ipv4_address.empty()) {
      return fail(
          ErrorKind::invalid,
          "invalid config for network bridge: invalid endpoint settings: user specified IP address is supported "
          "on user defined networks only");
    }
  }
  return {};
}

}  // namespace

// What a container stands on.
struct EngineImpl::RootImage {
  std::string id, chain_id;
  std::optional<std::string> warning;
};

// Merges the image's configuration into the request. Of a step's image all has been looked at by whoever builds.
Result<EngineImpl::RootImage> EngineImpl::root_of(CreateRequest& request) const {
  auto& config = request.config;
  if (request.step) return RootImage{request.step->image_id, request.step->chain_id, std::nullopt};
  if (config.image.empty()) return fail(ErrorKind::invalid, "create a container: no image given");
  const auto image = TRY(images_.resolve(config.image));
  if (admit_) CHECK(admit_(*image));
  auto foreign = TRY(check_platform(request.platform, image->config.platform, config.image));
  merge_image_config(config, image->config);
  return RootImage{image->id, image->chain_id, std::move(foreign)};
}

Result<Created> EngineImpl::create(CreateRequest request) {
  if (shutting_down_) return fail(ErrorKind::unavailable, "the daemon is shutting down");
  auto& config = request.config;
  auto& host = request.host_config;
  RootImage root = TRY(root_of(request));

  auto definition = std::make_shared<Definition>();
  auto warnings = TRY(complete(config, host, settings_, features_));
  if (root.warning) warnings.push_back(std::move(*root.warning));
  auto command = TRY(command_line(config));
  CHECK(check_endpoints(request.networking));
  for (std::string* mode : {&host.network_mode, &host.ipc_mode, &host.pid_mode}) {
    CHECK(pin_container_mode(*mode, registry_));
  }
  CHECK(pin_links(host.links, registry_));

  const std::string id = random_id();
  if (config.hostname.empty() && host.uts_mode != "host" && host.network_mode != "host" &&
      !host.network_mode.starts_with("container:")) {
    config.hostname = short_id(id);
  }
  CreateAttempt attempt(*this, id);
  definition->id = id;
  definition->name = TRY(attempt.take_name(request.name));
  definition->created = now();
  definition->image_id = root.id;
  definition->image_ref = config.image;
  definition->build_step = request.step.has_value();
  CHECK(request.step ? attempt.resolve_step(*request.step) : attempt.resolve_volumes(config, host));
  CHECK(attempt.admit_mounts());
  CHECK(attempt.take_snapshot(root.chain_id));
  failpoint("create.after_snapshot");
  CHECK(attempt.make_directory());

  definition->mounts = attempt.mounts().points;
  definition->path = command.front();
  definition->args.assign(command.begin() + 1, command.end());
  definition->snapshot_key = id;
  definition->config = std::move(config);
  definition->host_config = std::move(host);
  definition->networking = std::move(request.networking);
  CHECK(attempt.record(*definition));
  failpoint("create.after_record");

  auto mounts = attempt.keep();
  const auto container = make_container(id);
  container->with([&](Container::Data& data) {
    data.definition = definition;
    data.mounts = std::make_shared<const std::vector<MountDetail>>(std::move(mounts.details));
    if (request.step)
      data.step = std::make_shared<StepState>(
          StepState{.mounts = std::move(request.step->mounts), .secret_env = std::move(request.step->secret_env)});
    container->publish(false);
  });
  registry_.insert(container, definition->created);
  emit(*definition, "create");
  return Created{id, std::move(warnings)};
}

}  // namespace corten::engine
