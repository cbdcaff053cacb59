// A container as an OCI runtime specification: policy ends here, mechanism (module runtime) begins.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "engine/defaults.h"
#include "engine/mounts.h"
#include "engine/view.h"
#include "oci/runtime_spec.h"

namespace corten::engine {

// The mapping of --userns (daemon.json userns-remap) from /etc/subuid and /etc/subgid; nothing where the container uses
// the host's ids. Kind invalid when the remapping user has no ranges.
struct UserMapping {
  std::vector<oci::IdMapping> uids;
  std::vector<oci::IdMapping> gids;
};
Result<std::optional<UserMapping>> user_mapping(const spec::HostConfig& host_config, const Settings& settings);

// What only the start knows.
struct StartFacts {
  // Root mount of the container (detached), to read its /etc/passwd and /etc/group.
  int rootfs = -1;
  // Namespaces to join, as /proc/PID/ns/… paths; empty: a new one (or the host's where the mode says so).
  std::string network_namespace_path;
  std::string ipc_namespace_path, pid_namespace_path, uts_namespace_path, cgroup_namespace_path;
  std::string cgroup_path;                                  // below each hierarchy, "/corten/<id>"
  std::string hostname;                                     // resolved: config's, the short id, or the host's
  std::string hosts_path, hostname_path, resolv_conf_path;  // generated files, bind-mounted
  std::string init_program;                                 // of --init, bind-mounted at /sbin/docker-init
  std::string shm_source;                                   // of --ipc container:…/host; empty: a tmpfs of its own
  std::vector<std::string> link_env;                        // variables that tell of linked containers
  std::vector<std::string> secret_env;                      // of a build's step, over all others
  std::optional<UserMapping> user_mapping;
};

Result<oci::RuntimeSpec> build_runtime_spec(const Definition& definition, const std::vector<MountDetail>& mounts,
                                            const StartFacts& facts, const Settings& settings,
                                            const HostFeatures& features);

// The process part for `exec` in a running container whose start used `spec`. `link_env`: as StartFacts has it.
Result<oci::Process> build_exec_process(const Definition& definition, const ExecConfig& exec,
                                        const std::vector<std::string>& link_env, int rootfs, const Settings& settings,
                                        const HostFeatures& features);

// `linux.resources` alone, for `update` of a running container.
Result<oci::Resources> build_resources(const spec::HostConfig& host_config);

// Docker's "user", "uid", "user:group", "uid:gid" against the container's own files (bounded), with supplementary
// groups. Kind invalid: "unable to find user x: no matching entries in passwd file".
Result<oci::ProcessUser> resolve_user(std::string_view user, const std::vector<std::string>& group_add, int rootfs);

}  // namespace corten::engine
