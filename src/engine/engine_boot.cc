// The daemon's start: what the database, the directories, the shims and the kernel say is brought together.
//
// What decides, for each container (docs/engine.md has the whole table):
//   record without snapshot or directory   a removal that was under way: finished
//   directory with record.json, no record  a creation that the database has lost: recorded again
//   run directory                          the shim is asked; if it is gone, its exit record; if there is none, it is
//   lost record says running, no run directory  the machine went down: exit code 255
#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "base/log.h"
#include "base/mutex.h"
#include "engine/engine_impl.h"
#include "engine/orphans.h"
#include "engine/record.h"
#include "engine/restart_policy.h"
#include "network/network.h"
#include "store/store.h"
#include "sys/files.h"
#include "volume/volumes.h"

namespace corten::engine {
namespace {

// How long boot() waits for shims; those that hang are asked again later.
constexpr std::chrono::milliseconds reconnect_patience{2000};
constexpr std::chrono::seconds reconnect_interval{15};
constexpr int lost_with_machine = 255;

struct CloseDirectory {
  void operator()(DIR* directory) const { ::closedir(directory); }
};

// The end of this run has been told to everybody already; only clearing away was left.
bool is_on_record(const State& state, const shimproto::ExitRecord& exit) {
  return !state.running() && !state.restarting && state.finished_at == exit.finished;
}

// Counts what is still under way, for one that waits for all of it.
class Progress {
 public:
  explicit Progress(std::size_t count) : left_(count) {}

  void one_done() EXCLUDES(mutex_) {
    const MutexLock lock(mutex_);
    if (--left_ == 0) done_.notify_all();
  }
  // How many are left when all are done or `limit` is over.
  std::size_t wait(std::chrono::milliseconds limit) EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    done_.wait_for(lock, limit, [this]() REQUIRES(mutex_) { return left_ == 0; });
    return left_;
  }

 private:
  Mutex mutex_;
  CondVar done_;
  std::size_t left_ GUARDED_BY(mutex_);
};

}  // namespace

std::vector<std::string> directory_names(const std::string& path) {
  std::vector<std::string> names;
  const std::unique_ptr<DIR, CloseDirectory> directory(::opendir(path.c_str()));
  if (!directory) return names;
  while (const dirent* entry = ::readdir(directory.get())) {
    if (entry->d_name[0] != '.') names.emplace_back(entry->d_name);
  }
  return names;
}

bool is_container_id(std::string_view name) { return name.size() == 64 && is_hex(name); }

struct EngineImpl::BootRecord {
  SpecRecord spec;
  StateRecord state;
  ContainerRef container;
};

std::optional<EngineImpl::BootRecord> EngineImpl::read_record(const store::ContainerRow& row) {
  // The file is written first, so where the two differ the database has lost its last moments.
  auto text = sys::read_file(layout_.record(row.id), 8U << 20);
  const bool newer = text && *text != row.spec;
  auto spec = decode_spec(newer ? *text : row.spec);
  if (!spec && newer) spec = decode_spec(row.spec);
  auto state = decode_state(row.state);
  if (!spec || !state) {
    log::error("container {}: its record cannot be read and is left alone: {}", short_id(row.id),
               (spec ? state.error() : spec.error()).text());
    return std::nullopt;
  }
  if (newer) {
    if (spec->definition.name != row.name) (void)store_.database().rename_container(row.id, spec->definition.name);
    (void)store_.database().set_container_spec(row.id, std::move(*text));
  }
  return BootRecord{std::move(*spec), std::move(*state), nullptr};
}

// Half of a boot with a thousand containers is this, so all processors take part.
Result<std::vector<EngineImpl::BootRecord>> EngineImpl::read_records() {
  const auto rows = TRY(store_.database().list_containers());
  std::vector<std::optional<BootRecord>> read(rows.size());
  std::atomic<std::size_t> next = 0;
  const auto work = [&] {
    for (std::size_t i = next++; i < rows.size(); i = next++) read[i] = read_record(rows[i]);
  };
  {
    std::vector<std::jthread> helpers;
    const unsigned processors = std::min(std::thread::hardware_concurrency(), 8U);
    for (unsigned i = 1; i < processors && rows.size() > 64; ++i) helpers.emplace_back(work);
    work();
  }
  std::vector<BootRecord> records;
  records.reserve(rows.size());
  for (auto& record : read) {
    if (record) records.push_back(std::move(*record));
  }
  return records;
}

bool EngineImpl::check_record(BootRecord& record) {
  const auto& definition = record.spec.definition;
  struct stat64 unused;
  const bool has_directory = ::stat64(layout_.container(definition.id).c_str(), &unused) == 0;
  const bool has_snapshot = store_.snapshots().has(definition.snapshot_key);
  // What a build's step has begun is worth nothing without the build; its run is ended as one that nobody knows.
  const bool goes = record.state.state.status == Status::removing || definition.build_step;
  if (has_directory && has_snapshot && !goes) return true;
  log::info("container {} ({}): finishing its removal", short_id(definition.id), definition.name);
  if (has_snapshot) (void)store_.snapshots().remove(definition.snapshot_key);
  if (has_directory) {
    (void)::rename(layout_.container(definition.id).c_str(), layout_.removing(definition.id).c_str());
  }
  (void)store_.database().delete_container(definition.id);
  return false;
}

void EngineImpl::recover_lost_records(std::vector<BootRecord>& records) {
  std::vector<std::string> known;
  for (const auto& record : records) known.push_back(record.spec.definition.id);
  std::ranges::sort(known);
  for (const auto& name : directory_names(layout_.containers())) {
    if (name.ends_with(removing_suffix)) {
      janitor_.submit([path = layout_.container(name)] { (void)sys::remove_tree(path); });
      continue;
    }
    if (!is_container_id(name) || std::ranges::binary_search(known, name)) continue;
    auto text = sys::read_file(layout_.record(name), 8U << 20);
    auto spec = text ? decode_spec(*text) : Result<SpecRecord>(std::unexpected(text.error()));
    if (spec && spec->definition.id == name && !spec->definition.build_step &&
        store_.snapshots().has(spec->definition.snapshot_key)) {
      const auto put = store_.database().put_container({name, spec->definition.name, *text, encode_state({})});
      if (put) {
        log::info("container {} ({}): recorded again", short_id(name), spec->definition.name);
        records.push_back({std::move(*spec), {}, nullptr});
        continue;
      }
      log::warn("container {}: {}", short_id(name), put.error().text());
    }
    (void)::rename(layout_.container(name).c_str(), layout_.removing(name).c_str());
    janitor_.submit([path = layout_.removing(name)] { (void)sys::remove_tree(path); });
  }
}

void EngineImpl::register_record(BootRecord& record) {
  auto& definition = record.spec.definition;
  while (!registry_.reserve(definition.name, definition.id)) {
    // Two of a name: a rename whose other half was lost.
    definition.name += "_" + std::string(short_id(definition.id));
    (void)store_.database().rename_container(definition.id, definition.name);
  }
  for (const auto& detail : record.spec.mounts) {
    if (detail.volume_name.empty()) continue;
    if (auto used = volumes_.reference(detail.volume_name, definition.id); !used) {
      log::warn("container {}: {}", short_id(definition.id), used.error().text());
    }
  }
  record.container = make_container(definition.id);
  const Timestamp created = definition.created;
  record.container->with([&](Container::Data& data) {
    data.definition = std::make_shared<const Definition>(std::move(definition));
    data.mounts = std::make_shared<const std::vector<MountDetail>>(std::move(record.spec.mounts));
    data.state = record.state.state;
    data.restart_count = record.state.restart_count;
    record.container->publish(false);
  });
  registry_.insert(record.container, created);
}

Result<> EngineImpl::boot() {
  auto records = TRY_AS(read_records(), "read the containers' records");
  std::erase_if(records, [&](BootRecord& record) { return !check_record(record); });
  recover_lost_records(records);
  for (auto& record : records) register_record(record);

  std::vector<ContainerRef> with_run;
  std::vector<std::string> orphan_runs;
  for (const auto& id : directory_names(layout_.runs())) {
    const auto container = registry_.by_id(id);
    if (container == nullptr) {
      orphan_runs.push_back(id);
      continue;
    }
    StateRecord intent;
    if (auto text = sys::read_file(layout_.run(id) + "/" + intent_file)) {
      if (auto read = decode_state(*text)) intent = std::move(*read);
    }
    take_over_run(container, std::move(intent));
    with_run.push_back(container);
  }
  CHECK_AS(network_driver_->start(), "start networking");
  reconnect_all(with_run);
  for (const auto& record : records) end_without_run(record.container);
  for (const auto& id : orphan_runs) {
    workers_.submit([this, id] { end_orphan_run(id); });
  }
  remove_orphans();
  apply_policies();
  collect_execs();
  shims_->warm_up();
  return {};
}

// Makes the container look as its run directory says it was left; reconnect() finds out whether it still is so.
void EngineImpl::take_over_run(const ContainerRef& container, StateRecord intent) {
  const std::string& id = container->id();
  auto run = std::make_shared<Run>();
  run->cgroup_path = intent.cgroup_path.empty() ? cgroup_parent_ + "/" + id : intent.cgroup_path;
  shimproto::ShimState shim;
  bool over = false, known = false;
  if (auto directory = sys::open_directory(layout_.run(id))) {
    if (auto read = shimproto::read_state(directory->get())) shim = *read;
    const auto exit = shimproto::read_exit(directory->get());
    over = exit.has_value();
    known = over && container->with([&](Container::Data& data) { return is_on_record(data.state, *exit); });
  }
  run->pid = shim.pid;
  run->shim_pid = shim.shim_pid;
  if (intent.endpoint && !over && bridge_) {
    if (auto endpoint = bridge_->adopt(*intent.endpoint)) {
      run->endpoint = std::move(*endpoint);
    } else {
      log::warn("container {}: {}", short_id(id), endpoint.error().text());
    }
  }
  const bool stopped = ::access((layout_.run(id) + "/" + stopped_marker).c_str(), F_OK) == 0;
  container->with([&](Container::Data& data) {
    State& state = data.state;
    run->number = ++data.run_number;
    if (stopped) state.has_been_manually_stopped = data.no_restart = true;
    // A start that had not come that far, or an end that has been told: status as recorded.
    if (shim.pid == 0 || known) return;
    if (!state.running() || state.restarting) state.status = Status::running;
    state.restarting = false;
    state.pid = shim.pid;
    state.started_at = shim.started;
    state.error.clear();
    data.cgroup_path = run->cgroup_path;
    if (run->endpoint) data.endpoint = run->endpoint.info();
    container->publish(true);
  });
  container->with([&](Container::Data& data) { data.run = run; });
}

void EngineImpl::reconnect_all(const std::vector<ContainerRef>& containers) {
  if (containers.empty()) return;
  // Shared, because a shim that hangs keeps its task beyond our patience.
  const auto progress = std::make_shared<Progress>(containers.size());
  for (const auto& container : containers) {
    workers_.submit([this, container, progress] {
      reconnect(container);
      progress->one_done();
    });
  }
  if (const std::size_t left = progress->wait(reconnect_patience); left > 0) {
    log::warn("{} shims do not answer yet; going on without them", left);
  }
}

void EngineImpl::reconnect(const ContainerRef& container) {
  const auto run = container->with([](Container::Data& data) { return data.run; });
  if (!run || shutting_down_) return;
  const std::string& id = container->id();
  const auto directory = sys::open_directory(layout_.run(id));
  if (!directory) return run_lost(container, run->number, directory.error());
  auto client = shims_->reconnect(directory->get(), callbacks_for(container, run->number));
  if (client) {
    bool frozen = false;
    if (const auto group = open_cgroup(*container)) frozen = group->frozen().value_or(false);
    container->change([&](Container::Data& data) {
      if (data.run != run) return;  // it has ended meanwhile
      run->client = *client;
      run->pid = (*client)->state().pid;
      run->shim_pid = (*client)->state().shim_pid;
      data.state.pid = run->pid;
      data.state.status = frozen ? Status::paused : Status::running;
    });
    const auto memory = container->with([](Container::Data& data) { return data.definition->host_config.memory; });
    if (memory > 0) oom_.watch(id, run->cgroup_path);
    start_health(container);
    return;
  }
  if (client.error().kind() == ErrorKind::deadline) {
    log::warn("container {}: its shim does not answer: {}", short_id(id), client.error().text());
    timers_.after(reconnect_interval, [this, container] { reconnect(container); });
    return;
  }
  const auto exit = shimproto::read_exit(directory->get());
  const bool was_running = container->with([](Container::Data& data) { return data.state.running(); });
  const bool known = exit && container->with([&](Container::Data& data) { return is_on_record(data.state, *exit); });
  if (exit && !known) {
    container->with([](Container::Data& data) {
      if (!data.state.running()) data.state.status = Status::running;
    });
    return run_ended(container, run->number, *exit);
  }
  if (!exit && was_running) return run_lost(container, run->number, client.error());
  // Its end is on record already, or it never began: only what is left has to go.
  container->with([](Container::Data& data) {
    data.run.reset();
    data.endpoint.reset();
    data.cgroup_path.clear();
    ++data.cleaning;
  });
  janitor_.submit([this, container, run] { clean_run(container, run); });
}

void EngineImpl::end_without_run(const ContainerRef& container) {
  container->with([&](Container::Data& data) {
    State& state = data.state;
    if (data.run || data.cleaning > 0 || !state.running()) return;
    if (!state.restarting) {
      state.exit_code = lost_with_machine;
      state.finished_at = now();
    }
    state.status = Status::exited;
    state.restarting = false;
    state.pid = 0;
    container->publish(true);
  });
}

// Those that share another's namespaces or link to it come after all others, the oldest first: what they depend on was
// there when they were made.
void EngineImpl::apply_policies() {
  std::vector<ContainerRef> first, then;
  for (const auto& container : registry_.all()) {
    const auto view = container->view();
    if (view->state.running()) continue;
    const auto& host = view->definition->host_config;
    if (host.auto_remove) {
      workers_.submit([this, container] { auto_remove(container); });
      continue;
    }
    const Ending ending{view->state.exit_code, view->restart_count, false, view->state.has_been_manually_stopped};
    const bool was_started = view->state.started_at != Timestamp{};
    if (!was_started || !should_restart_at_boot(host.restart_policy, ending)) continue;
    const bool depends = host.network_mode.starts_with("container:") || host.pid_mode.starts_with("container:") ||
                         host.ipc_mode.starts_with("container:") || !host.links.empty();
    (depends ? then : first).push_back(container);
  }
  const auto start_one = [this](const ContainerRef& container) {
    const auto lock = lock_operation(*container);
    if (!lock || shutting_down_) return;
    const bool idle = container->with([](Container::Data& data) { return !data.run && !data.removed; });
    if (!idle) return;
    if (auto started = start_locked(container, false); !started) {
      log::warn("restart container {}: {}", short_id(container->id()), started.error().text());
    }
  };
  if (first.empty() && then.empty()) return;
  std::ranges::reverse(then);
  workers_.submit([this, first, then, start_one] {
    for (const auto& container : first) {
      workers_.submit([container, start_one] { start_one(container); });
    }
    for (const auto& container : then) {
      // In line, after giving those it depends on a chance to be there.
      const auto view = container->view();
      const auto& host = view->definition->host_config;
      std::vector<std::string> others;
      for (const auto& mode : {host.network_mode, host.pid_mode, host.ipc_mode})
        if (mode.starts_with("container:")) others.push_back(mode.substr(10));
      for (const auto& link : host.links) others.push_back(link.substr(0, link.find(':')));
      for (const auto& id : others) {
        const auto other = registry_.by_id(id);
        for (int i = 0; other && !other->view()->state.running() && i < 50 && !shutting_down_; ++i) {
          std::this_thread::sleep_for(std::chrono::milliseconds(20));
        }
      }
      start_one(container);
    }
  });
}

}  // namespace corten::engine
