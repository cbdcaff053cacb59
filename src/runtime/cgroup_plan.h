// From a specification's linux.resources to writes of control files, on cgroup v1 and v2.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "oci/runtime_spec.h"
#include "sys/cgroup_devices.h"
#include "sys/cgroup_dir.h"
#include "sys/cgroup_host.h"

namespace corten::runtime {

// What becomes of a limit that this kernel does not have.
enum class Unsupported : std::uint8_t {
  warn,    // left out, with Docker's warning text
  refuse,  // `unavailable`, as the OCI runtime specification wants
};

struct CgroupPlan {
  // In this order, before a process is in the group.
  std::vector<sys::CgroupSetting> settings;
  // Always in force on a new group. The specification's rules, then the devices every container may use
  // (null, zero, full, random, urandom, tty, console, ptmx, terminals, and mknod of anything).
  std::vector<sys::DeviceAccessRule> devices;
  std::vector<std::string> warnings;
};

// Controllers that the resources need in addition to a container's usual ones, for CgroupHost::trees_for.
std::vector<std::string> needed_controllers(const oci::Resources& resources);

// Pure: which tree a controller is in decides between the v1 and the v2 form. Values that are wrong in themselves are
// `invalid`.
Result<CgroupPlan> plan_cgroup(const oci::Resources& resources, const sys::CgroupHost& host,
                               const sys::CgroupFeatures& features, Unsupported unsupported);

// The device rules alone, as CgroupPlan::devices has them.
Result<std::vector<sys::DeviceAccessRule>> plan_devices(const std::vector<oci::DeviceRule>& rules);

// Makes the container's group at `path` (its parent is made where missing), limits and device rules in force, nobody in
// it. The result removes it unless released. `known` are the machine's features, if the caller has them already: some
// 30 system calls less.
Result<sys::CgroupDir> make_cgroup(const oci::Resources& resources, const sys::CgroupHost& host, std::string_view path,
                                   Unsupported unsupported, std::vector<std::string>& warnings,
                                   const sys::CgroupFeatures* known = nullptr);

// `update` of a live group: only what `resources` names is changed; devices only if it has rules.
Result<> update_cgroup(const oci::Resources& resources, const sys::CgroupHost& host, const sys::CgroupDir& group,
                       Unsupported unsupported, std::vector<std::string>& warnings);

// cpu.shares (2 to 262144, default 1024) to cpu.weight (1 to 10000). Linear, so that two containers keep the ratio of
// their shares.
std::uint64_t cpu_weight_of_shares(std::uint64_t shares);
// blkio.weight (10 to 1000) to io.weight (1 to 10000).
std::uint64_t io_weight_of_blkio(std::uint64_t weight);

}  // namespace corten::runtime
