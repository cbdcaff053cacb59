// EROFS images as mounts: straight from their files (Linux 6.12), or through loop devices. Private to the overlay
// driver.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/error.h"
#include "base/unique_fd.h"

namespace corten::store {

// `file`: CONFIG_EROFS_FS_BACKED_BY_FILE. `loop`: a read-only device that goes away with its last mount.
enum class ImageWay : std::uint8_t { file, loop };

struct ImageMount {
  UniqueFd root;  // a read-only mount that is attached nowhere
  UniqueFd image = {};
  std::string source = {};  // for mount_again: the loop device, or `image`
};
// A mounted image, as long as somebody has it.
using LayerRoot = std::shared_ptr<const ImageMount>;

// The image's metadata is read ahead first, because the kernel reads it block by block. `invalid` when the file is
// shorter than its superblock says or has none: torn, or damaged; `unavailable` when the kernel has not what it takes.
// Without `again` there will be no mount_again, for which a file's descriptor is kept.
Result<ImageMount> mount_image(UniqueFd image, ImageWay way, bool again);

// Another mount, for callers that need one to attach: before Linux 6.15 the first one cannot be copied. Through a loop
// device it is the same file system, from a file one with a cache of its own.
Result<UniqueFd> mount_again(const ImageMount& mount);

}  // namespace corten::store
