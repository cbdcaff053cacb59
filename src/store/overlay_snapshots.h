// The snapshot driver on overlayfs: a directory for each container and a directory or image for each layer (layout.h).
//
// Overlay options and why: redirect_dir=off and metacopy=off, so that a layer's directory holds all that `diff` and
// `commit` need (a renamed directory is copied, as under Docker); index=off, so that a layer may be used by any number
// of mounts.
#pragma once

#include <memory>
#include <string>

#include "store/database.h"
#include "store/snapshots.h"

namespace corten::store {

// More layers on each other than this are refused ("max depth exceeded"): what overlayfs stacks, less what a container
// needs beside its image.
inline constexpr std::size_t max_layers = 490;

struct OverlayOptions {
  // Mount as kernels before 6.7 need it, where one option holds the paths of all layers. For tests; found out
  // otherwise.
  bool legacy_mount = false;
  // New layers are made as one file each, an EROFS image, and mounted from it (Linux 6.15; not with legacy_mount).
  // Layers that are there are used in the form they have.
  bool image_layers = false;
};

// `directory` is made if missing. Directories that the database does not know are removed in the background.
// `database` must outlive the result.
Result<std::unique_ptr<Snapshots>> open_overlay_snapshots(const std::string& directory, Database& database,
                                                          const OverlayOptions& options = {});

}  // namespace corten::store
