// What the routes stand on. The daemon owns all of it; routes only call.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "engine/defaults.h"
#include "engine/engine.h"
#include "image/images.h"
#include "network/network.h"
#include "remote/hosts.h"
#include "store/store.h"
#include "trust/gate.h"
#include "volume/volumes.h"

namespace corten::build {
class Builder;
class Cache;
class Fetcher;
}  // namespace corten::build
namespace corten::context {
class Pool;
class Sessions;
}  // namespace corten::context

namespace corten::server {

class BuildState;

// What `info` and `version` show and only the composition root knows.
struct DaemonInfo {
  std::string id;    // stable for a data root
  std::string name;  // host name
  std::string version;
  std::string git_commit;
  std::string build_time;
  std::string data_root;
  std::string kernel_version, operating_system, os_version, architecture;
  unsigned cpus = 0;
  std::uint64_t memory = 0;
  std::string cgroup_driver = "cgroupfs";
  std::string cgroup_version;  // "1" or "2"
  std::string storage_driver = "overlay2";
  std::vector<std::pair<std::string, std::string>> storage_status;
  std::string default_log_driver = "json-file";
  std::vector<std::string> security_options;
  std::vector<std::string> warnings;
  std::vector<std::string> labels;
  std::vector<std::string> registry_mirrors, insecure_registries;
  bool live_restore = true;
  bool debug = false;
  std::string http_proxy, https_proxy, no_proxy;
  engine::HostFeatures features;
};

// How registries are reached, as configured at this moment.
struct RegistryAccess {
  std::shared_ptr<const remote::Hosts> hosts;
  unsigned parallel_downloads = 3;
  unsigned parallel_uploads = 5;
  int download_attempts = 5;
};

// What builds stand on.
struct BuildServices {
  build::Builder& builder;
  build::Cache& cache;
  context::Pool& pool;
  context::Sessions& sessions;
  BuildState& state;                  // build_state.h
  build::Fetcher* fetcher = nullptr;  // none: no contexts that are addresses
};

struct Services {
  engine::Engine& engine;
  image::Images& images;
  volume::Volumes& volumes;
  store::Store& store;
  // The networks of this daemon; the default bridge first. host and none are no objects of `network`.
  std::function<std::vector<network::NetworkConfig>()> networks;
  std::function<std::string(const std::string& network_id)> network_prefix;   // "172.17.0.0/16"
  std::function<std::string(const std::string& network_id)> network_gateway;  // "172.17.0.1"
  std::function<DaemonInfo()> info;
  std::function<RegistryAccess()> registry;
  const trust::Gate& trust;
  std::optional<BuildServices> build = {};  // none: a daemon that does not build
};

}  // namespace corten::server
