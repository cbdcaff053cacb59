// What the kernel can do with layers as images, found out by trying. Private to the overlay driver.
#pragma once

#include <optional>
#include <string>

#include "store/image_mount.h"
#include "store/overlay_mount.h"

namespace corten::store {

struct LayerSupport {
  // Layers as images work, in the ways given; otherwise they are what comes nearest.
  bool images = false;
  ImageWay image_way = ImageWay::file;
  OverlayWay overlay_way;
  std::string reason;  // why they do not
};

// Mounts a small image made in `base`, an overlay on it, and an overlay on that one, as images of more layers than
// overlayfs stacks need it and engines within containers. `asked` and `image_way` leave only such ways.
LayerSupport find_layer_support(const std::string& base, int base_fd, const OverlayWay& asked,
                                std::optional<ImageWay> image_way);

// `unavailable` when the kernel that mounts plain images in the way found does not read compressed files in them.
Result<> try_compression(const std::string& base, int base_fd, const LayerSupport& support);

}  // namespace corten::store
