// Which file systems a container sees: -v, --mount, --tmpfs, image volumes and --volumes-from, resolved once at create.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/unique_fd.h"
#include "engine/engine.h"
#include "engine/view.h"
#include "oci/runtime_spec.h"

namespace corten::image {
class Images;
}
namespace corten::store {
class Snapshots;
}
namespace corten::volume {
class Volumes;
}

namespace corten::engine {

// Everything a MountPoint does not show but the start needs; stored in the container's record beside it.
struct MountDetail {
  std::string type;         // bind, volume, tmpfs, image
  std::string volume_name;  // volumes only
  std::string source;       // absolute path on the host
  std::string destination;
  bool read_only = false;
  bool non_recursive = false;
  bool read_only_non_recursive = false;
  bool read_only_force_recursive = false;
  bool create_source = false;  // -v makes a missing host directory, --mount does not
  bool no_copy = false;
  std::string propagation;
  std::string subpath;   // of a volume or an image: only this part of it
  std::string image_id;  // images only
  std::string options;   // tmpfs: mount options

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit("Type", self.type);
    visit("VolumeName", self.volume_name, json::omit_empty);
    visit("Source", self.source);
    visit("Destination", self.destination);
    visit("ReadOnly", self.read_only, json::omit_empty);
    visit("NonRecursive", self.non_recursive, json::omit_empty);
    visit("ReadOnlyNonRecursive", self.read_only_non_recursive, json::omit_empty);
    visit("ReadOnlyForceRecursive", self.read_only_force_recursive, json::omit_empty);
    visit("CreateSource", self.create_source, json::omit_empty);
    visit("NoCopy", self.no_copy, json::omit_empty);
    visit("Propagation", self.propagation, json::omit_empty);
    visit("Subpath", self.subpath, json::omit_empty);
    visit("ImageID", self.image_id, json::omit_empty);
    visit("Options", self.options, json::omit_empty);
  }
};

struct ResolvedMounts {
  std::vector<MountDetail> details;  // sorted so that a parent comes before what lies below it
  std::vector<MountPoint> points;    // what inspect shows, same order
};

// `find` looks up the containers of --volumes-from and gives their mounts. Volumes are created (and referenced by
// `container_id`) as a side effect; the caller releases the references when the container is not recorded after all.
Result<ResolvedMounts> resolve_mounts(
    const std::string& container_id, const spec::ContainerConfig& config, const spec::HostConfig& host_config,
    volume::Volumes& volumes, const image::Images& images,
    const std::function<Result<std::vector<MountDetail>>(const std::string& container)>& find);

// Right before a start: volumes must still be there, and host directories that -v may create are created.
Result<> prepare_mount_sources(const std::vector<MountDetail>& details, volume::Volumes& volumes);
// What a mount shows, as a detached mount, where its source's path does not say it: a part of a volume, an image. No
// descriptor for all others.
Result<UniqueFd> open_mount_tree(const MountDetail& detail, const volume::Volumes& volumes, const image::Images& images,
                                 store::Snapshots& snapshots);
// One mount as the runtime specification has it.
oci::Mount runtime_mount(const MountDetail& detail);

// A volume that is used for the first time gets the image's content of that directory. `rootfs` is the container's
// (detached) root mount.
Result<> populate_volumes(const std::vector<MountDetail>& details, volume::Volumes& volumes, int rootfs);

}  // namespace corten::engine
