// A container's file system as a directory descriptor, whether it runs or not.
#pragma once

#include <mutex>

#include "base/error.h"
#include "base/unique_fd.h"
#include "engine/container.h"

namespace corten::engine {

// Of a running container, what its processes see (volumes and tmpfs included), through /proc/PID/root. Of a stopped
// one, a detached mount of its snapshot with its volumes and binds on top; the container cannot start while it is held.
struct ContainerRoot {
  UniqueFd fd;  // O_PATH or a mount; to be used with openat2 beneath it only
  bool running = false;
  std::unique_lock<OperationLock> operation;  // held when not running
};

// Puts clones of the mounts' sources onto their destinations beneath the detached mount `root`. Where the kernel cannot
// mount on a detached mount (before 6.15) nothing is put there: then paths inside volumes show the directory below.
Result<> attach_sources(int root, const std::vector<MountDetail>& mounts, const volume::Volumes& volumes,
                        const image::Images& images, store::Snapshots& snapshots);

}  // namespace corten::engine
