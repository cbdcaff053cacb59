// The snapshot driver on overlayfs: a directory for each container and a directory or image for each layer (layout.h).
//
// Overlay options and why: redirect_dir=off and metacopy=off, so that a layer's directory holds all that `diff` and
// `commit` need (a renamed directory is copied, as under Docker); index=off, so that a layer may be used by any number
// of mounts.
#pragma once

#include <memory>
#include <string>

#include "oci/image.h"
#include "store/database.h"
#include "store/snapshots.h"

namespace corten::store {

// More layers on each other than this are refused ("max depth exceeded"). overlayfs stacks 500; the lower ones become
// one overlay of their own, so that it is twice that, less what a container needs beside its image.
using oci::max_layers;

struct OverlayOptions {
  // New layers as one file each, an EROFS image, and mounted from it; or as directories. Layers that are there are used
  // in the form they have. `image` is refused where the kernel has not what it takes.
  LayerForm layers = LayerForm::automatic;
  // Files in new images as LZ4. Refused where new layers are not images, or the kernel does not read such ones.
  bool compress_images = false;
  // For tests: mount as older kernels need it. Found out otherwise.
  bool legacy_mount = false;     // before 6.7: one option holds the paths of all layers, which are attached
  bool attached_layers = false;  // before 6.15
  bool loop_devices = false;     // images through loop devices, before 6.12
  std::size_t stack_limit = 500;
};

// `directory` is made if missing. Directories that the database does not know are removed in the background.
// `database` must outlive the result.
Result<std::unique_ptr<Snapshots>> open_overlay_snapshots(const std::string& directory, Database& database,
                                                          const OverlayOptions& options = {});

}  // namespace corten::store
