// One start of a container, step by step. Each step's product has an owner in here, so that an error anywhere releases
// everything in reverse order; the order is that of docs/architecture.md.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "engine/engine_impl.h"
#include "engine/links.h"
#include "engine/user_namespace.h"

namespace corten::engine {

class StartAttempt {
 public:
  // Takes the container's next run number and marks it as starting.
  StartAttempt(EngineImpl& engine, ContainerRef container);
  StartAttempt(const StartAttempt&) = delete;
  StartAttempt& operator=(const StartAttempt&) = delete;
  // Unless finish() was called, nothing is left of the attempt.
  ~StartAttempt();

  // The moment the process began.
  Result<Timestamp> run();
  // Gives what was started to the caller; he resets Data::starting.
  std::shared_ptr<Run> finish() {
    done_ = true;
    return run_;
  }

 private:
  // --- start_attempt.cc
  Result<> make_run_dir();
  Result<> mount_rootfs();
  Result<> give_volumes_to_mapped_root();
  Result<> compile();
  Result<> make_group(const oci::Resources& resources, const std::string& path, std::vector<std::string>& warnings);
  runtime::FdSlot add_fd(int fd);
  Result<Timestamp> start_shim();
  Result<shimproto::LogConfig> log_config();
  Result<> write_intent();

  // --- start_attempt_network.cc
  Result<pid_t> pid_of(std::string_view ref, std::string_view what);
  Result<> join_network();
  Result<> join_bridge();
  Result<> join_namespaces();
  Result<> write_files();
  Result<> write_hosts();
  Result<> find_links();

  EngineImpl& engine_;
  const ContainerRef container_;
  std::shared_ptr<const Definition> definition_;
  std::shared_ptr<const std::vector<MountDetail>> mounts_;
  std::shared_ptr<StepState> step_;
  StartFacts facts_;
  ContainerRef network_owner_;
  std::vector<Link> links_;
  std::string plan_;
  std::vector<int> plan_fds_;
  bool has_run_dir_ = false, done_ = false;
  // The owners, in the order of their making.
  MappedNamespaces mapped_;
  UniqueFd run_dir_, data_dir_, rootfs_, joined_network_, shared_memory_;
  std::map<std::string, UniqueFd> mount_trees_;  // by destination
  std::shared_ptr<Run> run_;
};

// "/proc/PID/ns/net"
std::string namespace_path(pid_t pid, std::string_view kind);

}  // namespace corten::engine
