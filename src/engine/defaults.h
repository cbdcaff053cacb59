// From what a client asked to what will be: merge with the image, check, fill in, warn.
#pragma once

#include <string>
#include <vector>

#include "base/error.h"
#include "engine/engine.h"
#include "engine/view.h"
#include "sys/cgroup_host.h"

namespace corten::oci {
struct ImageConfig;
}

namespace corten::engine {

// What this machine and kernel can do; found out once, at boot.
struct HostFeatures {
  sys::CgroupFeatures cgroup;
  sys::CgroupMode cgroup_mode = sys::CgroupMode::none;
  bool raise_rlimits = false;    // CAP_SYS_RESOURCE: hard limits may be raised
  bool lower_oom_score = false;  // CAP_SYS_RESOURCE too
  bool seccomp = false;
  bool apparmor = false;
  bool user_namespaces = false;
  bool time_namespaces = false;
  std::string online_cpus;  // "0-1"
  std::string online_mems;
  unsigned cpus = 1;
};
// `cgroup_parent` must exist (sys::prepare_cgroup_parent).
HostFeatures detect_host_features(const sys::CgroupHost& host, std::string_view cgroup_parent);

// Merges the image's configuration into `config` as `docker create` does: Cmd only when neither Cmd nor Entrypoint was
// given, environment by variable, labels, exposed ports, volumes, user, directory, stop signal, health check.
void merge_image_config(spec::ContainerConfig& config, const oci::ImageConfig& image);

// Checks everything that can be known before the container exists and completes host_config with the daemon's defaults,
// so that `inspect` shows what is in force. Kind invalid with Docker's text for nonsense; the answer is the warnings
// (a limit that the kernel does not support is dropped from host_config and named).
Result<std::vector<std::string>> complete(spec::ContainerConfig& config, spec::HostConfig& host_config,
                                          const Settings& settings, const HostFeatures& features);

// Path and arguments from entrypoint and command; invalid "no command specified" where both are empty.
Result<std::vector<std::string>> command_line(const spec::ContainerConfig& config);

// For `docker update`: the checks of `complete` on resources alone, applied on top of `current`.
Result<std::vector<std::string>> merge_update(spec::HostConfig& current, const UpdateRequest& request,
                                              const HostFeatures& features);

}  // namespace corten::engine
