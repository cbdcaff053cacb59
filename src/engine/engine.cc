// What the engine's other files share: making containers, views, records and events; reading without waiting.
#include <fcntl.h>

#include "base/log.h"
#include "engine/engine_impl.h"
#include "engine/record.h"
#include "image/images.h"
#include "network/network.h"
#include "shimproto/log_options.h"
#include "store/store.h"
#include "sys/cgroup_moves.h"
#include "sys/files.h"
#include "sys/placement.h"

namespace corten::engine {
namespace {

// How long a command waits for another command on the same container.
constexpr std::chrono::seconds operation_patience{70};

}  // namespace

EngineImpl::EngineImpl(Settings settings, Dependencies dependencies)
    : settings_(std::move(settings)),
      store_(dependencies.store),
      images_(dependencies.images),
      volumes_(dependencies.volumes),
      network_driver_(std::move(dependencies.network_driver)),
      bridge_(std::move(dependencies.bridge)),
      admit_(std::move(dependencies.admit)),
      layout_(settings_.data_root, settings_.exec_root),
      shims_(std::move(dependencies.shims)) {}

EngineImpl::~EngineImpl() {
  shutting_down_ = true;
  // First those who may use the hub, then the hub with its callbacks, whose last tasks end with the queues.
  timers_.stop();
  workers_.drain(std::chrono::seconds(65));
  shims_.reset();
  // What runs goes on running without us.
  for (const auto& container : registry_.all()) {
    container->with([](Container::Data& data) {
      if (data.run) data.run->endpoint.detach();
    });
  }
}

Result<> EngineImpl::prepare() {
  CHECK(sys::make_directories(layout_.containers(), 0700));
  if (const auto directory = sys::open_directory(layout_.containers())) sys::spread_subdirectories(directory->get());
  CHECK(sys::make_directories(layout_.runs(), 0700));
  host_ = TRY_AS(runtime::detect_host(), "find out what this machine can do");
  cgroup_parent_ = TRY(sys::clean_cgroup_path(settings_.cgroup_parent));
  CHECK_AS(sys::prepare_cgroup_parent(host_.cgroups, cgroup_parent_), "make the parent control group");
  features_ = detect_host_features(host_.cgroups, cgroup_parent_);
  if (host_.cgroups.mode() != sys::CgroupMode::v2) {
    workers_.submit([this] {
      if (auto fast = sys::FastCgroupMoves::enable()) fast_moves_ = std::move(*fast);
    });
  }
  if (!shims_) {
    shimproto::HubOptions options;
    options.shim_path = settings_.shim_program;
    shims_ = TRY(shimproto::ShimHub::create(options));
  }
  return {};
}

Result<std::unique_ptr<Engine>> make_engine(Settings settings, Dependencies dependencies) {
  auto engine = std::make_unique<EngineImpl>(std::move(settings), std::move(dependencies));
  CHECK(engine->prepare());
  return engine;
}

ContainerRef EngineImpl::make_container(const std::string& id) {
  return std::make_shared<Container>(
      id, [this](const Container::Data& data, bool spec_changed) { persist(data, spec_changed); },
      [this](const Container::Data& data) { return make_view(data); });
}

ContainerPtr EngineImpl::make_view(const Container::Data& data) const {
  auto view = std::make_shared<ContainerView>();
  view->definition = data.definition;
  view->state = data.state;
  view->restart_count = data.restart_count;
  view->endpoint = data.endpoint;
  const std::string& id = data.definition->id;
  const std::string& driver = data.definition->host_config.log_config.type;
  if (const auto known = shimproto::parse_log_driver(driver)) {
    const std::string file = shimproto::log_file_name(*known, id);
    if (!file.empty()) view->log_path = layout_.container(id) + "/" + file;
  }
  view->hosts_path = layout_.hosts(id);
  view->hostname_path = layout_.hostname(id);
  view->resolv_conf_path = layout_.resolv_conf(id);
  view->exec_ids = data.exec_ids;
  return view;
}

void EngineImpl::persist(const Container::Data& data, bool spec_changed) {
  const std::string& id = data.definition->id;
  if (spec_changed) {
    std::string text = encode_spec(*data.definition, *data.mounts);
    if (auto written = sys::write_file_atomic(layout_.record(id), text, 0600); !written) {
      log::warn("container {}: {}", short_id(id), written.error().text());
    }
    if (auto posted = store_.database().set_container_spec(id, std::move(text)); !posted) {
      log::warn("container {}: {}", short_id(id), posted.error().text());
    }
  }
  StateRecord record{data.state, data.restart_count, data.endpoint, data.cgroup_path};
  if (auto posted = store_.database().set_container_state(id, encode_state(record)); !posted) {
    log::warn("container {}: {}", short_id(id), posted.error().text());
  }
}

void EngineImpl::emit(const Definition& definition, std::string action, Attributes attributes) {
  if (definition.build_step) return;
  Event event;
  event.type = "container";
  event.action = std::move(action);
  event.actor_id = definition.id;
  event.attributes = definition.config.labels;
  event.attributes["image"] = definition.image_ref;
  event.attributes["name"] = definition.name;
  for (auto& [key, value] : attributes) event.attributes[key] = std::move(value);
  events_.publish(std::move(event));
}

void EngineImpl::emit_network(const Definition& definition, std::string action) {
  const std::string& mode = definition.host_config.network_mode;
  if (mode.starts_with("container:") || definition.build_step) return;
  Event event;
  event.type = "network";
  event.action = std::move(action);
  event.actor_id = mode == "bridge" && bridge_ ? bridge_->config().id : mode;
  event.attributes = {{"container", definition.id}, {"name", mode}, {"type", mode == "none" ? "null" : mode}};
  events_.publish(std::move(event));
}

Result<std::unique_lock<OperationLock>> EngineImpl::lock_operation(Container& container) {
  std::unique_lock lock(container.operation, std::defer_lock);
  if (lock.try_lock() || lock.try_lock_for(operation_patience)) return lock;
  return fail(ErrorKind::deadline, "container {}: another operation on it has not ended for {} s, try again later",
              container.id(), operation_patience.count());
}

Result<std::shared_ptr<shimproto::ShimClient>> EngineImpl::client_of(Container& container) const {
  return container.with([&](Container::Data& data) -> Result<std::shared_ptr<shimproto::ShimClient>> {
    CHECK(must_run(data.state, container.id()));
    if (data.state.restarting) {
      return fail(ErrorKind::conflict, "Container {} is restarting, wait until the container is running",
                  container.id());
    }
    if (!data.run || !data.run->client) {
      return fail(ErrorKind::unavailable, "container {}: its shim does not answer", container.id());
    }
    return data.run->client;
  });
}

Result<sys::CgroupDir> EngineImpl::open_cgroup(Container& container) {
  const std::string path = container.with([](Container::Data& data) { return data.cgroup_path; });
  if (path.empty()) return fail(ErrorKind::not_found, "container {} has no control group", container.id());
  return sys::CgroupDir::open(host_.cgroups.trees(), path);
}

Result<UniqueFd> EngineImpl::open_running_root(pid_t pid) const {
  return sys::open_file(fmt::format("/proc/{}/root", pid), O_PATH | O_DIRECTORY | O_CLOEXEC);
}

std::vector<ContainerPtr> EngineImpl::list() const {
  std::vector<ContainerPtr> views;
  auto containers = registry_.all();
  views.reserve(containers.size());
  for (const auto& container : containers) {
    auto view = container->view();
    if (!view->definition->build_step) views.push_back(std::move(view));
  }
  return views;
}

Result<ContainerPtr> EngineImpl::find(std::string_view ref) const { return TRY(registry_.find(ref))->view(); }

Result<DiskUsage> EngineImpl::disk_usage(std::string_view ref) {
  const auto view = TRY(find(ref));
  DiskUsage usage;
  usage.container_id = view->id();
  usage.size_rw = static_cast<std::int64_t>(TRY(store_.snapshots().usage(view->definition->snapshot_key)).bytes);
  std::uint64_t image_size = 0;
  if (const auto image = images_.resolve(view->definition->image_id)) image_size = (*image)->size;
  usage.size_root_fs = usage.size_rw + static_cast<std::int64_t>(image_size);
  return usage;
}

Result<std::unique_ptr<Waiter>> EngineImpl::register_wait(std::string_view ref, WaitCondition condition) {
  const auto container = TRY(registry_.find(ref));
  auto state = std::make_shared<WaitState>(condition);
  container->with([&](Container::Data& data) {
    const bool over = condition == WaitCondition::removed
                          ? data.removed
                          : condition == WaitCondition::not_running && !data.state.running() && !data.starting;
    if (over) {
      state->finish({data.state.exit_code, data.state.error});
    } else {
      std::erase_if(data.waiters, [](const auto& waiter) { return waiter->abandoned(); });
      data.waiters.push_back(state);
    }
  });
  return std::make_unique<RegisteredWait>(std::move(state));
}

}  // namespace corten::engine
