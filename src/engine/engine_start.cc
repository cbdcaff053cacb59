// `start`: from a recorded container to a running process. Each step's product has an owner in StartAttempt, so that an
// error anywhere releases everything in reverse order; the order is that of docs/architecture.md.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "base/cleanup.h"
#include "base/log.h"
#include "engine/engine_impl.h"
#include "engine/failpoint.h"
#include "engine/ports.h"
#include "engine/record.h"
#include "engine/shared_memory.h"
#include "image/images.h"
#include "network/files.h"
#include "runtime/cgroup_plan.h"
#include "shimproto/log_options.h"
#include "engine/user_namespace.h"
#include "store/store.h"
#include "sys/files.h"
#include "volume/volumes.h"

namespace corten::engine {
namespace {

constexpr std::chrono::seconds cleaning_patience{20};
constexpr std::string_view container_prefix = "container:";

std::string_view other_container(std::string_view mode) {
  return mode.starts_with(container_prefix) ? mode.substr(container_prefix.size()) : std::string_view();
}

std::string host_name() {
  std::array<char, 256> buffer{};
  if (::gethostname(buffer.data(), buffer.size() - 1) != 0) return "localhost";
  return buffer.data();
}

std::string namespace_path(pid_t pid, std::string_view kind) { return fmt::format("/proc/{}/ns/{}", pid, kind); }

}  // namespace

class StartAttempt {
 public:
  StartAttempt(EngineImpl& engine, ContainerRef container)
      : engine_(engine), container_(std::move(container)), run_(std::make_shared<Run>()) {
    container_->with([&](Container::Data& data) {
      definition_ = data.definition;
      mounts_ = data.mounts;
      run_->number = ++data.run_number;
      data.starting = true;
      data.pending_end.reset();
      data.no_restart = false;
    });
  }
  StartAttempt(const StartAttempt&) = delete;
  StartAttempt& operator=(const StartAttempt&) = delete;
  ~StartAttempt() {
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

  Result<Timestamp> run() {
    CHECK(make_run_dir());
    CHECK(mount_rootfs());
    CHECK(join_network());
    failpoint("start.after_network");
    CHECK(write_files());
    CHECK(compile());
    failpoint("start.before_shim");
    return start_shim();
  }

  std::shared_ptr<Run> finish() {
    done_ = true;
    return run_;
  }

 private:
  Result<> make_run_dir() {
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

  Result<> mount_rootfs() {
    facts_.user_mapping = TRY(user_mapping(definition_->host_config, engine_.settings_));
    store::SnapshotMountOptions options;
    if (facts_.user_mapping) {
      mapped_ = TRY(make_mapped_namespaces(*facts_.user_mapping));
      options.userns_fd = mapped_.for_mount.get();
    }
    options.ephemeral = definition_->host_config.auto_remove;
    rootfs_ = TRY_AS(engine_.store_.snapshots().mount(definition_->snapshot_key, options), "mount the root file system");
    facts_.rootfs = rootfs_.get();
    CHECK(prepare_mount_sources(*mounts_, engine_.volumes_));
    CHECK(give_volumes_to_mapped_root());
    return populate_volumes(*mounts_, engine_.volumes_, rootfs_.get());
  }

  // As Docker does: a new volume belongs to the container's root, whoever that is on the host.
  Result<> give_volumes_to_mapped_root() {
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

  // A running container whose namespaces are to be joined.
  Result<pid_t> pid_of(std::string_view ref, std::string_view what) {
    const auto other = TRY(engine_.registry_.find(ref));
    const auto state = other->view()->state;
    if (state.restarting) {
      return fail(ErrorKind::conflict, "Container {} is restarting, wait until the container is running", other->id());
    }
    if (!state.running()) return fail(ErrorKind::conflict, "cannot join {} of a non running container: {}", what, other->id());
    return state.pid;
  }

  Result<> join_network() {
    const std::string& mode = definition_->host_config.network_mode;
    if (mode == "host") return {};
    if (const auto other = other_container(mode); !other.empty()) {
      network_owner_ = TRY(engine_.registry_.find(other));
      const pid_t pid = TRY(pid_of(other, "network"));
      facts_.network_namespace_path = namespace_path(pid, "net");
      joined_network_ = TRY(sys::open_file(facts_.network_namespace_path, O_RDONLY | O_CLOEXEC));
      return {};
    }
    if (mode == "none" || definition_->config.network_disabled) {
      joined_network_ = mapped_.network ? std::move(mapped_.network) : TRY(engine_.network_driver_->make_namespace());
      return {};
    }
    if (mode != "bridge" && mode != engine_.bridge_->config().name && mode != engine_.bridge_->config().id) {
      return fail(ErrorKind::not_found, "network {} not found", mode);
    }
    return join_bridge();
  }

  Result<> join_bridge() {
    network::EndpointSpec wanted;
    wanted.container_id = definition_->id;
    wanted.container_name = definition_->name;
    wanted.ports = TRY(port_requests(definition_->config, definition_->host_config));
    std::string mac = definition_->config.mac_address;
    for (const auto& [name, endpoint] : definition_->networking.endpoints_config) {
      if (!endpoint.mac_address.empty()) mac = endpoint.mac_address;
    }
    if (!mac.empty()) wanted.mac = TRY(network::parse_mac(mac));
    auto endpoint = mapped_.network ? engine_.bridge_->attach(mapped_.network.get(), wanted, "eth0", true)
                                    : engine_.bridge_->create(wanted);
    if (mapped_.network) joined_network_ = std::move(mapped_.network);
    if (!endpoint) {
      // Docker answers a taken port with 500, and its clients know it by the text.
      auto error = std::move(endpoint).error();
      if (error.kind() == ErrorKind::conflict) error = std::move(error).as(ErrorKind::internal);
      return std::unexpected(std::move(error).wrap("failed to set up container networking"));
    }
    run_->endpoint = std::move(*endpoint);
    return {};
  }

  Result<> write_files() {
    const auto& id = definition_->id;
    const auto& layout = engine_.layout_;
    facts_.hostname = definition_->config.hostname.empty() ? host_name() : definition_->config.hostname;
    const std::string& owner = network_owner_ ? network_owner_->id() : id;
    facts_.hosts_path = layout.hosts(owner);
    facts_.hostname_path = layout.hostname(owner);
    facts_.resolv_conf_path = layout.resolv_conf(owner);
    if (network_owner_) {
      const auto theirs = network_owner_->view();
      if (!theirs->definition->config.hostname.empty()) facts_.hostname = theirs->definition->config.hostname;
      return {};
    }
    CHECK(sys::write_file_atomic(facts_.hostname_path, network::hostname_file(facts_.hostname)));
    CHECK(write_hosts());
    const auto& host = definition_->host_config;
    network::ResolvConfig resolv{host.dns, host.dns_search, host.dns_options};
    if (resolv.servers.empty()) resolv.servers = engine_.settings_.dns;
    if (resolv.search.empty()) resolv.search = engine_.settings_.dns_search;
    if (resolv.options.empty()) resolv.options = engine_.settings_.dns_options;
    const bool nothing_given = resolv.servers.empty() && resolv.search.empty() && resolv.options.empty();
    const std::string host_text = network::read_host_resolv();
    // On the host's network the host's loopback resolver works, so its file is taken as it is.
    const bool as_it_is = host.network_mode == "host" && nothing_given;
    return sys::write_file_atomic(facts_.resolv_conf_path, as_it_is ? host_text : network::resolv_file(host_text, resolv));
  }

  Result<> write_hosts() {
    std::vector<network::HostsEntry> own, extra;
    std::string gateway;
    if (run_->endpoint) {
      std::string names = facts_.hostname;
      if (!definition_->config.domainname.empty()) {
        names = facts_.hostname + "." + definition_->config.domainname + " " + facts_.hostname;
      }
      own.push_back({network::to_string(run_->endpoint.info().address), names});
      gateway = network::to_string(run_->endpoint.info().gateway);
    } else {
      gateway = network::to_string(engine_.bridge_->prefix().address);
    }
    for (const auto& text : definition_->host_config.extra_hosts) {
      extra.push_back(TRY(network::parse_extra_host(text, gateway)));
    }
    if (definition_->host_config.network_mode == "host") {
      if (auto text = sys::read_file("/etc/hosts")) {
        if (!text->empty() && !text->ends_with('\n')) *text += '\n';
        for (const auto& entry : extra) *text += entry.address + "\t" + entry.names + "\n";
        return sys::write_file_atomic(facts_.hosts_path, *text);
      }
    }
    return sys::write_file_atomic(facts_.hosts_path, network::hosts_file(own, extra));
  }

  Result<> join_namespaces() {
    const auto& host = definition_->host_config;
    if (const auto other = other_container(host.ipc_mode); !other.empty()) {
      const auto found = TRY(engine_.registry_.find(other));
      const std::string theirs = found->view()->definition->host_config.ipc_mode;
      if (theirs != "shareable" && theirs != "host") {
        return fail(ErrorKind::conflict, "cannot join IPC of container {}: its IPC mode is {}, not shareable (hint: use IPC mode \"shareable\" for it)",
                    found->id(), theirs);
      }
      const pid_t pid = TRY(pid_of(other, "IPC"));
      facts_.ipc_namespace_path = namespace_path(pid, "ipc");
      facts_.shm_source = fmt::format("/proc/{}/root/dev/shm", pid);  // for the specification; the mount is what counts
      shared_memory_ = TRY(clone_shared_memory(pid));
    } else if (host.ipc_mode == "host") {
      facts_.shm_source = "/dev/shm";
    }
    if (const auto other = other_container(host.pid_mode); !other.empty()) {
      facts_.pid_namespace_path = namespace_path(TRY(pid_of(other, "PID")), "pid");
    }
    if (const auto other = other_container(host.uts_mode); !other.empty()) {
      facts_.uts_namespace_path = namespace_path(TRY(pid_of(other, "UTS")), "uts");
    }
    return {};
  }

  Result<> compile() {
    CHECK(join_namespaces());
    const auto& host = definition_->host_config;
    const std::string parent =
        host.cgroup_parent.empty() ? engine_.cgroup_parent_ : TRY(sys::clean_cgroup_path(host.cgroup_parent));
    const std::string path = parent + "/" + definition_->id;
    facts_.cgroup_path = "/" + path;
    if (host.init.value_or(engine_.settings_.default_init)) facts_.init_program = engine_.settings_.init_program;
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
    if (shared_memory_) options.mount_trees["/dev/shm"] = add_fd(shared_memory_.get());
    auto compiled = TRY(runtime::compile(spec, engine_.host_, options));
    warnings.insert(warnings.end(), compiled.warnings.begin(), compiled.warnings.end());
    for (const auto& warning : warnings) log::warn("container {}: {}", short_id(definition_->id), warning);
    const auto bytes = runtime::serialise(compiled.plan);
    plan_.assign(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    return {};
  }

  Result<> make_group(const oci::Resources& resources, const std::string& path, std::vector<std::string>& warnings) {
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

  runtime::FdSlot add_fd(int fd) {
    plan_fds_.push_back(fd);
    return static_cast<runtime::FdSlot>(plan_fds_.size() - 1);
  }

  Result<Timestamp> start_shim() {
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

  Result<shimproto::LogConfig> log_config() {
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
  Result<> write_intent() {
    StateRecord record;
    record.state.status = Status::running;
    record.cgroup_path = run_->cgroup_path;
    if (run_->endpoint) record.endpoint = run_->endpoint.info();
    const UniqueFd file(::openat(run_dir_.get(), intent_file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    if (!file) return sys_fail("create {} in the run directory", intent_file);
    return sys::write_all(file.get(), encode_state(record));
  }

  EngineImpl& engine_;
  const ContainerRef container_;
  std::shared_ptr<const Definition> definition_;
  std::shared_ptr<const std::vector<MountDetail>> mounts_;
  StartFacts facts_;
  ContainerRef network_owner_;
  std::string plan_;
  std::vector<int> plan_fds_;
  bool has_run_dir_ = false, done_ = false;
  // The owners, in the order of their making.
  MappedNamespaces mapped_;
  UniqueFd run_dir_, data_dir_, rootfs_, joined_network_, shared_memory_;
  std::shared_ptr<Run> run_;
};

Result<> EngineImpl::start(std::string_view ref, std::string_view) {
  if (shutting_down_) return fail(ErrorKind::unavailable, "the daemon is shutting down");
  const auto container = TRY(registry_.find(ref));
  const auto lock = TRY(lock_operation(*container));
  auto allowed = container->with([&](Container::Data& data) -> Result<> {
    if (data.state.restarting) return fail(ErrorKind::not_modified, "container {} is already started", container->id());
    CHECK(may_start(data.state, container->id()));
    data.state.has_been_manually_stopped = false;
    data.restart_count = 0;
    data.backoff = {};
    return {};
  });
  CHECK(std::move(allowed));
  return start_locked(container);
}

Result<> EngineImpl::start_locked(const ContainerRef& container) {
  const bool clean = container->wait_for(cleaning_patience, [](Container::Data& data) { return data.cleaning == 0; });
  if (!clean) {
    return fail(ErrorKind::deadline, "start container {}: what is left of its last run cannot be cleared away",
                container->id());
  }
  StartAttempt attempt(*this, container);
  auto begun = attempt.run();
  if (!begun) return std::unexpected(fail_start(container, std::move(begun).error()));
  started(container, attempt.finish(), *begun);
  return {};
}

void EngineImpl::started(const ContainerRef& container, std::shared_ptr<Run> run, Timestamp when) {
  std::shared_ptr<const Definition> definition;
  container->change([&](Container::Data& data) {
    definition = data.definition;
    State& state = data.state;
    state.status = after(state.status, Move::start).value_or(Status::running);
    state.restarting = false;
    state.pid = run->pid;
    state.exit_code = 0;
    state.error.clear();
    state.oom_killed = false;
    state.started_at = when;
    state.health.reset();
    data.endpoint.reset();
    if (run->endpoint) data.endpoint = run->endpoint.info();
    data.cgroup_path = run->cgroup_path;
    data.oom_told = false;
    data.run = run;
  });
  if (definition->host_config.memory > 0) oom_.watch(container->id(), run->cgroup_path);
  failpoint("start.after_publish");
  emit_network(*definition, "connect");
  emit(*definition, "start");
  start_health(container);
  deliver_attaches(container);
  // An exit that came before all this was said is dealt with now, in order.
  std::optional<shimproto::ExitRecord> end;
  container->with([&](Container::Data& data) {
    data.starting = false;
    end.swap(data.pending_end);
  });
  if (end) finish_run(container, *end);
}

// Clients that attached while the start was under way.
void EngineImpl::deliver_attaches(const ContainerRef& container) {
  std::vector<PendingAttach> late;
  std::shared_ptr<shimproto::ShimClient> client;
  container->with([&](Container::Data& data) {
    late.swap(data.attaches);
    if (data.run) client = data.run->client;
  });
  for (auto& attach : late) {
    attach.spec.fd = attach.stream.fd.get();
    attach.spec.already_read = std::move(attach.stream.already_read);
    if (client == nullptr) continue;
    if (auto reply = client->attach(attach.spec); !reply) {
      log::debug("container {}: attach: {}", short_id(container->id()), reply.error().text());
    }
  }
}

namespace {

bool has(std::string_view text, std::string_view part) { return text.find(part) != std::string_view::npos; }

struct Translated {
  Error error;
  int exit_code;
};

// Docker's classes of start failures, told by the text as Docker's clients do: 127 for a command that is not there, 126
// for one that cannot be run (both the caller's mistake), 128 for the rest.
Translated translate(Error error) {
  const std::string& text = error.text();
  if (has(text, "executable file not found") || has(text, "no such file or directory")) {
    return {std::move(error).as(ErrorKind::invalid), 127};
  }
  if (has(text, "permission denied") || has(text, "is a directory")) {
    return {std::move(error).as(ErrorKind::invalid), 126};
  }
  if (has(text, "not a directory")) {
    std::string more = text +
                       ": Are you trying to mount a directory onto a file (or vice-versa)? Check if the specified host path "
                       "exists and is the expected type";
    return {Error(ErrorKind::invalid, std::move(more)), 127};
  }
  return {std::move(error), 128};
}

}  // namespace

Error EngineImpl::fail_start(const ContainerRef& container, Error error) {
  // A refusal before the runtime was asked keeps its class; what the runtime says is put as Docker puts it.
  Translated result{std::move(error), 128};
  const bool refusal = result.error.kind() == ErrorKind::conflict || result.error.kind() == ErrorKind::invalid ||
                       result.error.text().starts_with("network ") || result.error.text().starts_with("failed to set up");
  if (!refusal || has(result.error.text(), "exec: \"")) {
    Error told(result.error.kind(),
               fmt::format("failed to create task for container: {}: unknown", result.error.text()),
               result.error.sys_errno());
    result = translate(std::move(told));
    // Not found is what the container is not; its start went wrong.
    if (result.error.kind() == ErrorKind::not_found || result.error.kind() == ErrorKind::forbidden) {
      result.error = std::move(result.error).as(ErrorKind::internal);
    }
  }
  bool remove = false;
  container->change([&](Container::Data& data) {
    State& state = data.state;
    const bool was_restarting = state.restarting;
    state.status = after(state.status, Move::give_up).value_or(state.status);
    state.restarting = false;
    state.exit_code = result.exit_code;
    state.error = result.error.text();
    data.endpoint.reset();
    data.cgroup_path.clear();
    remove = data.definition->host_config.auto_remove;
    // A start by hand that fails ends nothing; a restart that fails ends the waiting for it.
    if (was_restarting) finish_waiters(data.waiters, false, {result.exit_code, state.error});
  });
  log::info("container {}: {}", short_id(container->id()), result.error.text());
  if (remove) workers_.submit([this, container] { auto_remove(container); });
  return std::move(result.error);
}

shimproto::ShimCallbacks EngineImpl::callbacks_for(const ContainerRef& container, std::uint64_t run_number) {
  shimproto::ShimCallbacks callbacks;
  const std::weak_ptr<Container> weak = container;
  callbacks.on_exit = [this, weak, run_number](const shimproto::ExitRecord& record) {
    if (const auto strong = weak.lock()) run_ended(strong, run_number, record);
  };
  callbacks.on_lost = [this, weak, run_number](const Error& why) {
    if (const auto strong = weak.lock()) run_lost(strong, run_number, why);
  };
  callbacks.on_exec_exit = [this, weak](const std::string& exec_id, const shimproto::ExitRecord& record) {
    if (const auto strong = weak.lock()) exec_ended(strong, exec_id, record);
  };
  callbacks.on_attach_closed = [this, weak](std::uint64_t attach_id, shimproto::AttachEnd end) {
    if (const auto strong = weak.lock()) attach_closed(strong, attach_id, end);
  };
  return callbacks;
}

StartFacts EngineImpl::runtime_facts(const Definition& definition, pid_t pid, int rootfs,
                                     const std::string& cgroup_path) const {
  StartFacts facts;
  if (auto mapping = user_mapping(definition.host_config, settings_)) facts.user_mapping = std::move(*mapping);
  facts.rootfs = rootfs;
  facts.cgroup_path = "/" + cgroup_path;
  facts.hostname = definition.config.hostname;
  for (auto [path, kind] : {std::pair{&facts.network_namespace_path, "net"}, {&facts.ipc_namespace_path, "ipc"},
                            {&facts.pid_namespace_path, "pid"}, {&facts.uts_namespace_path, "uts"},
                            {&facts.cgroup_namespace_path, "cgroup"}}) {
    *path = namespace_path(pid, kind);
  }
  return facts;
}

}  // namespace corten::engine
