// The engine, private to this folder. One class because its parts share the register of containers; its methods are
// grouped by file, one topic each (engine_create.cc, engine_start.cc …).
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/id.h"
#include "base/mutex.h"
#include "engine/container.h"
#include "engine/container_root.h"
#include "engine/defaults.h"
#include "engine/engine.h"
#include "engine/events.h"
#include "engine/exec.h"
#include "engine/layout.h"
#include "engine/make_engine.h"
#include "engine/oom_monitor.h"
#include "engine/registry.h"
#include "engine/runtime_spec.h"
#include "engine/tasks.h"
#include "runtime/compile.h"
#include "shimproto/shim_client.h"
#include "sys/cgroup_host.h"
#include "sys/cgroup_moves.h"

namespace corten::store {
struct ContainerRow;
}

namespace corten::engine {

struct StateRecord;

// Attributes of an event beyond name, image and labels.
using Attributes = std::map<std::string, std::string>;

class EngineImpl final : public Engine {
 public:
  EngineImpl(Settings settings, Dependencies dependencies);
  ~EngineImpl() override;
  Result<> prepare();  // before anything else, once

  Result<> boot() override;
  void shutdown() override;
  void reconfigure(bool live_restore, std::chrono::seconds shutdown_timeout) override;

  std::vector<ContainerPtr> list() const override;
  Result<ContainerPtr> find(std::string_view ref) const override;
  Result<DiskUsage> disk_usage(std::string_view ref) override;
  EventBus& events() override { return events_; }

  Result<Created> create(CreateRequest request) override;
  Result<> start(std::string_view ref, std::string_view detach_keys) override;
  Result<> stop(std::string_view ref, StopOptions options) override;
  Result<> restart(std::string_view ref, StopOptions options) override;
  Result<> kill(std::string_view ref, std::string_view signal) override;
  Result<> pause(std::string_view ref) override;
  Result<> unpause(std::string_view ref) override;
  Result<> rename(std::string_view ref, std::string_view name) override;
  Result<std::vector<std::string>> update(std::string_view ref, const UpdateRequest& request) override;
  Result<> remove(std::string_view ref, RemoveOptions options) override;
  Result<std::unique_ptr<Waiter>> register_wait(std::string_view ref, WaitCondition condition) override;
  Result<EndedStep> take_step(std::string_view ref) override;
  Result<PruneResult> prune(const std::function<bool(const ContainerView&)>& matches) override;

  Result<> attach(std::string_view ref, AttachOptions options) override;
  Result<> resize(std::string_view ref, unsigned height, unsigned width) override;
  Result<> logs(std::string_view ref, const LogOptions& options, std::stop_token stop,
                const std::function<Result<>(const LogLine&)>& line) override;

  Result<std::string> exec_create(std::string_view ref, ExecConfig config) override;
  Result<> exec_start(std::string_view exec_id, ExecStartOptions options) override;
  Result<> exec_resize(std::string_view exec_id, unsigned height, unsigned width) override;
  Result<ExecView> exec_inspect(std::string_view exec_id) const override;

  // engine_stats.cc
  Result<TopResult> top(std::string_view ref, std::string_view ps_options) override;
  Result<std::shared_ptr<const StatsSample>> stats(std::string_view ref) override;

  // engine_files.cc
  Result<PathStat> stat_path(std::string_view ref, std::string_view path) override;
  Result<> copy_out(std::string_view ref, std::string_view path, const std::function<Result<>(const PathStat&)>& head,
                    const ByteWriter& write) override;
  Result<> copy_in(std::string_view ref, std::string_view path, bool no_overwrite_dir_non_dir, bool copy_uid_gid,
                   const ByteReader& read) override;
  Result<std::vector<Change>> changes(std::string_view ref) override;
  Result<> export_rootfs(std::string_view ref, const ByteWriter& write) override;
  Result<std::string> commit(std::string_view ref, CommitRequest request) override;

 private:
  friend class StartAttempt;
  friend class CreateAttempt;

  // --- engine.cc: helpers for all
  ContainerRef make_container(const std::string& id);
  ContainerPtr make_view(const Container::Data& data) const;
  void persist(const Container::Data& data, bool spec_changed);
  void emit(const Definition& definition, std::string action, Attributes attributes = {});
  void emit_network(const Definition& definition, std::string action);
  // The container's operation lock; deadline when somebody else holds it for too long.
  Result<std::unique_lock<OperationLock>> lock_operation(Container& container);
  // The running container's shim, or Docker's refusal.
  Result<std::shared_ptr<shimproto::ShimClient>> client_of(Container& container) const;
  // An existing group of a running container.
  Result<sys::CgroupDir> open_cgroup(Container& container);
  // The container's file system, running or not (container_root.h).
  Result<ContainerRoot> open_root(Container& container, bool writable);
  // /proc/PID/root of a running container, opened.
  Result<UniqueFd> open_running_root(pid_t pid) const;

  // --- engine_create.cc
  struct RootImage;
  Result<RootImage> root_of(CreateRequest& request) const;

  // --- engine_start.cc
  // `by_policy`: only while the container waits to be restarted; somebody may have stopped it in the meantime.
  Result<> start_locked(const ContainerRef& container, bool by_policy);
  Error fail_start(const ContainerRef& container, Error error);
  void started(const ContainerRef& container, std::shared_ptr<Run> run, Timestamp when);
  void deliver_attaches(const ContainerRef& container);
  shimproto::ShimCallbacks callbacks_for(const ContainerRef& container, std::uint64_t run_number);
  StartFacts runtime_facts(const Definition& definition, pid_t pid, int rootfs, const std::string& cgroup_path) const;

  // --- engine_exit.cc
  void run_ended(const ContainerRef& container, std::uint64_t run_number, shimproto::ExitRecord record);
  void run_lost(const ContainerRef& container, std::uint64_t run_number, const Error& why);
  void finish_run(const ContainerRef& container, shimproto::ExitRecord record);
  void clean_run(const ContainerRef& container, const std::shared_ptr<Run>& run);
  void restart_due(const ContainerRef& container);
  void attach_closed(const ContainerRef& container, std::uint64_t attach_id, shimproto::AttachEnd end);

  void out_of_memory(const std::string& id);

  // --- engine_stop.cc
  Result<> send_signal(const ContainerRef& container, int signo, bool user_asked);
  Result<> kill_and_wait(const ContainerRef& container);
  Result<> stop_container(const ContainerRef& container, const StopOptions& options);
  void mark_stopped(const std::string& id);
  // What a restart policy waits for will not come.
  void give_up_restart(const ContainerRef& container);

  // --- engine_remove.cc
  Result<> kill_for_removal(const ContainerRef& container);
  Result<> remove_locked(const ContainerRef& container, bool volumes);
  // The same without the snapshot.
  Result<> remove_around_snapshot(const ContainerRef& container, bool volumes);
  void auto_remove(const ContainerRef& container);

  // --- engine_exec.cc
  Result<> run_exec(const ContainerRef& container, const std::shared_ptr<Exec>& exec,
                    std::optional<shimproto::AttachSpec> attach, std::uint16_t rows, std::uint16_t columns);
  void exec_ended(const ContainerRef& container, const std::string& exec_id, const shimproto::ExitRecord& record);
  void end_execs(const ContainerRef& container, const std::vector<std::string>& exec_ids);
  void collect_execs() EXCLUDES(exec_mutex_);
  std::shared_ptr<Exec> add_exec(const ContainerRef& container, ExecConfig config, bool is_probe) EXCLUDES(exec_mutex_);
  Result<std::shared_ptr<Exec>> find_exec(std::string_view exec_id) const EXCLUDES(exec_mutex_);
  void drop_exec(const std::string& exec_id) EXCLUDES(exec_mutex_);
  void finish_exec(const ContainerRef& container, const std::shared_ptr<Exec>& exec, int exit_code);

  // --- engine_health.cc
  void start_health(const ContainerRef& container);
  static Timers::Id stop_health(Container::Data& data);  // the timer to cancel, without the lock
  void schedule_probe(const ContainerRef& container, std::uint64_t generation, std::chrono::nanoseconds delay);
  void probe(const ContainerRef& container, std::uint64_t generation);
  void probe_ended(const ContainerRef& container, std::uint64_t generation, HealthProbe probe);

  // --- engine_boot.cc, engine_orphans.cc
  struct BootRecord;
  std::optional<BootRecord> read_record(const store::ContainerRow& row);
  Result<std::vector<BootRecord>> read_records();
  // False: a removal that was under way, which is finished.
  bool check_record(BootRecord& record);
  void recover_lost_records(std::vector<BootRecord>& records);
  void register_record(BootRecord& record);
  void take_over_run(const ContainerRef& container, StateRecord intent);
  void reconnect(const ContainerRef& container);
  void reconnect_all(const std::vector<ContainerRef>& containers);
  void end_without_run(const ContainerRef& container);
  void end_orphan_run(const std::string& id);
  void remove_orphans();
  void apply_policies();
  void stop_everything();

  Settings settings_;
  store::Store& store_;
  image::Images& images_;
  volume::Volumes& volumes_;
  std::shared_ptr<network::Driver> network_driver_;
  std::shared_ptr<network::Network> bridge_;
  const std::function<Result<>(const image::Image&)> admit_;
  Layout layout_;
  HostFeatures features_;
  runtime::HostFeatures host_;
  std::string cgroup_parent_;  // cleaned
  std::atomic<bool> shutting_down_ = false;

  EventBus events_;
  Registry registry_;
  mutable Mutex exec_mutex_;
  std::unordered_map<std::string, std::shared_ptr<Exec>> execs_ GUARDED_BY(exec_mutex_);

  sys::FastCgroupMoves fast_moves_;  // written once, by a worker

  // In this order: timers feed workers, callbacks of the hub feed both, and each must end before what it uses.
  TaskQueue janitor_{2, 4096};
  TaskQueue workers_{64, 1'000'000};
  Timers timers_{workers_};
  OomMonitor oom_{host_.cgroups, [this](const std::string& id) { out_of_memory(id); }};
  std::unique_ptr<shimproto::ShimHub> shims_;
};

}  // namespace corten::engine
