// Which control group hierarchies this machine has, and where. Found once, kept as a value, passed to whoever needs it.
//
// Three shapes: pure v2 (one tree), pure v1 (one hierarchy for each controller, some mounted together), and hybrid (v1
// with a v2 tree beside it that holds no controller, or only those that no v1 hierarchy took).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace corten::sys {

// A mounted hierarchy. Plain data, so that it can be sent to another process.
struct CgroupTree {
  bool v2 = false;
  std::string mount_point;               // "/sys/fs/cgroup/memory"
  std::vector<std::string> controllers;  // "cpu", "cpuacct"; of a v2 tree those that its root offers
  bool operator==(const CgroupTree&) const = default;

  bool has(std::string_view controller) const;
};

enum class CgroupMode : std::uint8_t { none, v1, hybrid, v2 };
std::string_view to_string(CgroupMode mode);

// What the kernel offers in a group beneath `parent`; each is asked for by looking for the control file.
struct CgroupFeatures {
  bool memory_limit = false;
  bool swap_limit = false;
  bool memory_reservation = false;
  bool memory_swappiness = false;  // v1 only
  bool kernel_memory_tcp = false;  // v1 only
  bool oom_kill_disable = false;   // v1 only
  bool cpu_shares = false;
  bool cpu_cfs = false;  // quota and period
  bool cpu_realtime = false;
  bool cpu_idle = false;
  bool cpu_burst = false;
  bool cpuset = false;
  bool pids_limit = false;
  // The file for weights, empty if there is none: "blkio.weight", "blkio.bfq.weight", "io.bfq.weight" or "io.weight".
  std::string blkio_weight;
  std::string blkio_weight_device;
  bool blkio_throttle = false;
  bool hugetlb = false;
  bool devices = false;  // v1 controller, or v2 (then a BPF program)
  bool freezer = false;
};

class CgroupHost {
 public:
  CgroupHost() = default;
  explicit CgroupHost(std::vector<CgroupTree> trees) : trees_(std::move(trees)) {}

  // Reads /proc/self/mountinfo and each v2 tree's cgroup.controllers.
  static Result<CgroupHost> detect();
  // The same from a mountinfo text; `read_controllers` is asked for a v2 mount point's cgroup.controllers.
  static CgroupHost parse(std::string_view mountinfo, std::string (*read_controllers)(const std::string& mount_point));

  CgroupMode mode() const;
  const std::vector<CgroupTree>& trees() const { return trees_; }
  // The tree that holds the controller, or null.
  const CgroupTree* tree_of(std::string_view controller) const;
  const CgroupTree* v2_tree() const;
  // Controllers of all trees, sorted.
  std::vector<std::string> controllers() const;

  // The trees a container's group is made in: every v1 hierarchy with a controller and the v2 tree on a pure v2 host.
  // On a hybrid host the v2 tree is left out, unless `needed` names a controller that is only there: one more mkdir,
  // move and rmdir would buy nothing. Named hierarchies (name=systemd) are never used: they limit nothing.
  std::vector<CgroupTree> trees_for(const std::vector<std::string>& needed = {}) const;

 private:
  std::vector<CgroupTree> trees_;
};

// `--cgroup-parent` and a specification's cgroupsPath to a path relative to every tree's mount point, without "." and
// empty parts: "/a//b/" and "a/b" give "a/b". `invalid` for "..", for over-long names and for systemd's
// "slice:prefix:name" and ".slice".
Result<std::string> clean_cgroup_path(std::string_view path);

// Makes the group `path` (as clean_cgroup_path gives it) and its ancestors where they do not exist, in
// trees_for(needed), ready to have children: on v2 every controller on offer is enabled for the children on the way (a
// controller that cannot be enabled is left out), on v1 cpusets are inherited.
Result<> prepare_cgroup_parent(const CgroupHost& host, std::string_view path,
                               const std::vector<std::string>& needed = {});

// Adds what a group's directory in one tree offers.
void note_cgroup_features(const CgroupTree& tree, int directory, CgroupFeatures& features);
// `parent` must exist (prepare_cgroup_parent). A throw-away child is made and removed where the root has no such files.
Result<CgroupFeatures> probe_cgroup_features(const CgroupHost& host, std::string_view parent);

// Names of the groups directly beneath `parent` in any tree, sorted, each once. A parent that does not exist has none.
std::vector<std::string> list_cgroup_children(const CgroupHost& host, std::string_view parent);

}  // namespace corten::sys
