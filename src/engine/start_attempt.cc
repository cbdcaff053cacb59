#include "engine/start_attempt.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "base/log.h"
#include "engine/failpoint.h"
#include "engine/record.h"
#include "runtime/cgroup_plan.h"
#include "shimproto/log_options.h"
#include "store/store.h"
#include "sys/files.h"
#include "volume/volumes.h"

namespace corten::engine {

StartAttempt::StartAttempt(EngineImpl& engine, ContainerRef container)
    : engine_(engine), container_(std::move(container)), run_(std::make_shared<Run>()) {
  container_->with([&](Container::Data& data) {
    definition_ = data.definition;
    mounts_ = data.mounts;
    step_ = data.step;
    run_->number = ++data.run_number;
    data.starting = true;
    data.pending_end.reset();
    data.no_restart = false;
  });
}

StartAttempt::~StartAttempt() {
  if (done_) return;
  container_->with([&](Container::Data& data) {
    data.starting = false;
    data.pending_end.reset();
    data.endpoint.reset();
    data.cgroup_path.clear();
    data.attaches.clear();
  });
  if (has_run_dir_) {
    if (auto removed = sys::remove_tree(engine_.layout_.run(container_->id())); !removed) {
      log::warn("container {}: {}", short_id(container_->id()), removed.error().text());
    }
  }
}

Result<Timestamp> StartAttempt::run() {
  CHECK(make_run_dir());
  CHECK(mount_rootfs());
  CHECK(find_links());
  CHECK(join_network());
  failpoint("start.after_network");
  CHECK(write_files());
  CHECK(compile());
  failpoint("start.before_shim");
  return start_shim();
}

Result<> StartAttempt::make_run_dir() {
  const std::string path = engine_.layout_.run(container_->id());
  if (::mkdir(path.c_str(), 0700) != 0) {
    if (errno != EEXIST) return sys_fail("create run directory {}", path);
    // Left by a start that failed while being undone.
    CHECK(sys::remove_tree(path));
    if (::mkdir(path.c_str(), 0700) != 0) return sys_fail("create run directory {}", path);
  }
  has_run_dir_ = true;
  run_dir_ = TRY(sys::open_directory(path));
  data_dir_ = TRY(sys::open_directory(engine_.layout_.container(container_->id())));
  return {};
}

Result<> StartAttempt::mount_rootfs() {
  facts_.user_mapping = TRY(user_mapping(definition_->host_config, engine_.settings_));
  store::SnapshotMountOptions options;
  if (facts_.user_mapping) {
    mapped_ = TRY(make_mapped_namespaces(*facts_.user_mapping));
    options.userns_fd = mapped_.for_mount.get();
  }
  options.ephemeral = definition_->host_config.auto_remove || definition_->build_step;
  if (step_) step_->made = TRY(make_mount_points(engine_.store_.snapshots(), definition_->snapshot_key, step_->mounts));
  rootfs_ = TRY_AS(engine_.store_.snapshots().mount(definition_->snapshot_key, options), "mount the root file system");
  facts_.rootfs = rootfs_.get();
  CHECK(prepare_mount_sources(*mounts_, engine_.volumes_));
  for (const MountDetail& detail : *mounts_) {
    auto tree = TRY(open_mount_tree(detail, engine_.volumes_, engine_.images_, engine_.store_.snapshots()));
    if (tree) mount_trees_[detail.destination] = std::move(tree);
  }
  for (const StepMount& mount : step_ ? step_->mounts : std::vector<StepMount>())
    if (mount.source) mount_trees_[mount.target] = TRY(open_step_tree(mount, mapped_.for_mount.get()));
  CHECK(give_volumes_to_mapped_root());
  return populate_volumes(*mounts_, engine_.volumes_, rootfs_.get());
}

// As Docker does: a new volume belongs to the container's root, whoever that is on the host.
Result<> StartAttempt::give_volumes_to_mapped_root() {
  if (!facts_.user_mapping) return {};
  for (const MountDetail& detail : *mounts_) {
    if (detail.volume_name.empty() || !TRY(engine_.volumes_.is_empty(detail.volume_name))) continue;
    const UniqueFd data = TRY(engine_.volumes_.open_data(detail.volume_name));
    const auto& mapping = *facts_.user_mapping;
    if (::fchown(data.get(), mapping.uids.front().host_id, mapping.gids.front().host_id) != 0) {
      return sys_fail("give volume {} to the container's root", detail.volume_name);
    }
  }
  return {};
}

Result<> StartAttempt::compile() {
  CHECK(join_namespaces());
  const auto& host = definition_->host_config;
  const std::string parent =
      host.cgroup_parent.empty() ? engine_.cgroup_parent_ : TRY(sys::clean_cgroup_path(host.cgroup_parent));
  const std::string path = parent + "/" + definition_->id;
  facts_.cgroup_path = "/" + path;
  if (host.init.value_or(engine_.settings_.default_init)) facts_.init_program = engine_.settings_.init_program;
  if (step_) facts_.secret_env = step_->secret_env;
  const auto spec = TRY(build_runtime_spec(*definition_, *mounts_, facts_, engine_.settings_, engine_.features_));

  std::vector<std::string> warnings;
  CHECK(make_group(*spec.linux_config->resources, path, warnings));
  runtime::CompileOptions options;
  options.id = definition_->id;
  options.bundle = engine_.layout_.container(definition_->id);
  options.cgroup_path = path;
  options.root_mount = add_fd(rootfs_.get());
  if (run_->endpoint || joined_network_) {
    const int fd = joined_network_ ? joined_network_.get() : run_->endpoint.namespace_fd();
    options.namespace_fds[static_cast<std::size_t>(runtime::NamespaceKind::network)] = add_fd(fd);
  }
  if (mapped_.user) {
    options.namespace_fds[static_cast<std::size_t>(runtime::NamespaceKind::user)] = add_fd(mapped_.user.get());
  }
  if (run_->cgroup.v2_directory() >= 0) options.cgroup.v2_directory = add_fd(run_->cgroup.v2_directory());
  for (const int fd : run_->cgroup.v1_directories()) options.cgroup.v1_directories.push_back(add_fd(fd));
  for (const auto& [destination, tree] : mount_trees_) options.mount_trees[destination] = add_fd(tree.get());
  if (shared_memory_) options.mount_trees["/dev/shm"] = add_fd(shared_memory_.get());
  auto compiled = TRY(runtime::compile(spec, engine_.host_, options));
  warnings.insert(warnings.end(), compiled.warnings.begin(), compiled.warnings.end());
  for (const auto& warning : warnings) log::warn("container {}: {}", short_id(definition_->id), warning);
  const auto bytes = runtime::serialise(compiled.plan);
  plan_.assign(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  return {};
}

Result<> StartAttempt::make_group(const oci::Resources& resources, const std::string& path,
                                  std::vector<std::string>& warnings) {
  const sys::CgroupFeatures* known = &engine_.features_.cgroup;
  auto group =
      runtime::make_cgroup(resources, engine_.host_.cgroups, path, runtime::Unsupported::warn, warnings, known);
  if (!group && group.error().kind() == ErrorKind::conflict) {
    // What a killed daemon or a run that is hard to clear away has left. Nothing of it may live on in a new run.
    auto old = TRY(sys::CgroupDir::open(engine_.host_.cgroups.trees(), path));
    CHECK(old.kill_all(std::chrono::seconds(5)));
    CHECK(old.remove(std::chrono::seconds(5)));
    group = runtime::make_cgroup(resources, engine_.host_.cgroups, path, runtime::Unsupported::warn, warnings, known);
  }
  run_->cgroup = TRY_AS(std::move(group), "set up the control group");
  run_->cgroup_path = path;
  return {};
}

runtime::FdSlot StartAttempt::add_fd(int fd) {
  plan_fds_.push_back(fd);
  return static_cast<runtime::FdSlot>(plan_fds_.size() - 1);
}

Result<Timestamp> StartAttempt::start_shim() {
  shimproto::StartRequest request;
  request.container_id = definition_->id;
  request.plan = std::move(plan_);
  request.plan_fds = plan_fds_;
  request.run_dir = run_dir_.get();
  request.log_dir = data_dir_.get();
  request.log = TRY(log_config());
  const auto& config = definition_->config;
  request.tty = config.tty;
  const auto& size = definition_->host_config.console_size;
  if (size.size() == 2) {
    request.rows = static_cast<std::uint16_t>(size[0]);
    request.columns = static_cast<std::uint16_t>(size[1]);
  }
  request.stdin_open = config.open_stdin;
  request.stdin_once = config.stdin_once;

  CHECK(write_intent());
  std::vector<PendingAttach> waiting;
  container_->with([&](Container::Data& data) { waiting.swap(data.attaches); });
  for (auto& attach : waiting) {
    attach.spec.fd = attach.stream.fd.get();
    attach.spec.already_read = std::move(attach.stream.already_read);
    request.attaches.push_back(attach.spec);
  }
  auto client = TRY(engine_.shims_->start(request, engine_.callbacks_for(container_, run_->number)));
  failpoint("start.after_shim");
  run_->client = std::move(client);
  run_->pid = run_->client->state().pid;
  run_->shim_pid = run_->client->state().shim_pid;
  // From here on the processes hold the namespace and the group; ending the run is what releases them.
  // The group is known by its path: nine descriptors for each running container would be too many.
  if (run_->endpoint) run_->endpoint.release_namespace();
  run_->cgroup.release();
  run_->cgroup = {};
  return run_->client->state().started;
}

Result<shimproto::LogConfig> StartAttempt::log_config() {
  const auto& log = definition_->host_config.log_config;
  shimproto::LogIdentity identity;
  identity.container_id = definition_->id;
  identity.container_name = definition_->name;
  identity.image_id = definition_->image_id;
  identity.image_name = definition_->image_ref;
  identity.labels = definition_->config.labels;
  for (const auto& variable : definition_->config.env) {
    const auto split = variable.find('=');
    if (split != std::string::npos) identity.env[variable.substr(0, split)] = variable.substr(split + 1);
  }
  return shimproto::compile_log_config(log.type, log.config, identity);
}

// What boot() needs to take over a run of which the database has not heard yet.
Result<> StartAttempt::write_intent() {
  StateRecord record;
  record.state.status = Status::running;
  record.cgroup_path = run_->cgroup_path;
  if (run_->endpoint) record.endpoint = run_->endpoint.info();
  const UniqueFd file(::openat(run_dir_.get(), intent_file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (!file) return sys_fail("create {} in the run directory", intent_file);
  return sys::write_all(file.get(), encode_state(record));
}

}  // namespace corten::engine
