#include "engine/container_root.h"

#include <fcntl.h>

#include <cerrno>

#include "sys/beneath.h"
#include "sys/mounts.h"

namespace corten::engine {

Result<> attach_sources(int root, const std::vector<MountDetail>& mounts, const volume::Volumes& volumes,
                        const image::Images& images, store::Snapshots& snapshots) {
  for (const MountDetail& mount : mounts) {
    if (mount.type == "tmpfs") continue;
    auto target = sys::open_beneath(root, mount.destination, O_PATH);
    // Made at the first start; until then there is nothing to see.
    if (!target) continue;
    auto source = open_mount_tree(mount, volumes, images, snapshots);
    if (source && !*source) source = sys::clone_mount(AT_FDCWD, mount.source, !mount.non_recursive);
    if (!source) continue;
    const auto attached = sys::attach_mount(source->get(), target->get());
    if (!attached && attached.error().sys_errno() == EINVAL) return {};
    CHECK(attached);
  }
  return {};
}

}  // namespace corten::engine
