// Steps of a build: what a container that is one has beside others.
#pragma once

#include <string>
#include <vector>

#include "base/error.h"
#include "base/unique_fd.h"
#include "engine/engine.h"
#include "engine/mounts.h"

namespace corten::store {
class Snapshots;
}

namespace corten::engine {

// In a step's snapshot: something that stands where something will be mounted, and that was not there before.
struct MountPointMade {
  std::string path;  // without the slash at its beginning; no component is a link
  bool is_directory = false;
};

// What only a running step has: nothing of it is on disk, and with the daemon it ends.
struct StepState {
  std::vector<StepMount> mounts;  // targets as resolve_step_mounts() has cleaned them
  std::vector<std::string> secret_env;
  std::vector<MountPointMade> made;
  bool output_cut = false;  // its reader was too slow
};

// The mounts as a container's record and `inspect` have them. Targets are cleaned; twice the same, "/" and relative
// ones are `invalid`.
Result<ResolvedMounts> resolve_step_mounts(std::vector<StepMount>& mounts);
// The detached mount to be attached in the container. With a user namespace (or -1) its files' owners are seen through
// that, where their file system can: of root's they are the container's root's.
Result<UniqueFd> open_step_tree(const StepMount& mount, int user_namespace);

// Makes what is missing for the mounts, parents first, and marks it. The times of directories that were there stay.
// The snapshot must not be mounted.
Result<std::vector<MountPointMade>> make_mount_points(store::Snapshots& snapshots, const std::string& key,
                                                      const std::vector<StepMount>& mounts);
// Takes away what is still there, still marked and still empty. No link is followed, whatever the step has done.
Result<> remove_mount_points(store::Snapshots& snapshots, const std::string& key,
                             const std::vector<MountPointMade>& made);

}  // namespace corten::engine
