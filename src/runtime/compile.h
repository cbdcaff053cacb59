// From an OCI runtime specification to a plan. Runs in the daemon and in corten-runtime, never in the shim.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "oci/runtime_spec.h"
#include "runtime/launch_plan.h"
#include "runtime/seccomp_compile.h"
#include "sys/cgroup_host.h"

namespace corten::runtime {

// What the machine can do; found once (detect_host) and passed to every compile.
struct HostFeatures {
  sys::CapabilityMask capabilities = 0;  // all that the kernel has
  sys::CapabilityMask own_bounding = 0;  // what we can give at most
  std::array<RlimitPlan, 16> rlimits{};  // ours, by resource
  bool can_raise_limits = false;         // CAP_SYS_RESOURCE
  std::int32_t own_oom_score_adj = 0;
  bool apparmor = false;
  bool selinux = false;
  bool seccomp = false;
  bool time_namespace = false;
  bool cgroup_namespace = false;
  bool root_is_ramfs = false;
  std::uint32_t kernel_version = 0;  // major << 16 | minor << 8
  sys::CgroupHost cgroups;
  std::shared_ptr<SeccompCache> seccomp_cache = std::make_shared<SeccompCache>();
};
Result<HostFeatures> detect_host();

// Where the descriptors that go along with the plan are, and what else the specification does not say.
struct CompileOptions {
  std::string id;
  std::string bundle;         // root.path, and relative bind sources, are resolved against it
  FdSlot root_mount = no_fd;  // instead of root.path
  // By kind: joined instead of what the specification says.
  std::array<FdSlot, namespace_kinds> namespace_fds{no_fd, no_fd, no_fd, no_fd, no_fd, no_fd, no_fd, no_fd};
  // Detached mounts for bind mounts, by destination, instead of their source path.
  std::map<std::string, FdSlot> mount_trees;
  std::array<FdSlot, 3> stdio{no_fd, no_fd, no_fd};
  CgroupPlacement cgroup;
  // The container's group, relative to each tree's mount point; for mounts of type cgroup.
  std::string cgroup_path;
  bool die_with_parent = true;
  bool session_keyring = true;
};

struct CompiledLaunch {
  LaunchPlan plan;
  // One line each: what the kernel or this machine does not permit and was left out.
  std::vector<std::string> warnings;
};
// `invalid` names the field and says what is wrong with it; `unavailable` for what the kernel lacks.
Result<CompiledLaunch> compile(const oci::RuntimeSpec& spec, const HostFeatures& host, const CompileOptions& options);

struct CompiledExec {
  ExecPlan plan;
  std::vector<std::string> warnings;
};
// `container` is the specification of the container that the process joins; `process` is the one to run.
Result<CompiledExec> compile_exec(const oci::RuntimeSpec& container, const oci::Process& process,
                                  const HostFeatures& host, const CompileOptions& options);

}  // namespace corten::runtime
