// Layers that are one file, an EROFS image, instead of a directory: snapshots/<number>/layer.erofs. Private to the
// overlay driver.
//
// The kernel mounts an image straight from its file (Linux 6.12; CONFIG_EROFS_FS_BACKED_BY_FILE). The mount is attached
// nowhere; overlayfs takes its descriptor as a lower layer (Linux 6.15) and keeps the file system itself afterwards.
#pragma once

#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "base/mutex.h"
#include "base/unique_fd.h"
#include "store/erofs_layer.h"

namespace corten::store {

// The root of a mounted image, open as long as somebody has it.
using LayerRoot = std::shared_ptr<const UniqueFd>;

class LayerImages {
 public:
  // `base` is the snapshots directory (borrowed).
  explicit LayerImages(int base) : base_(base) {}

  // The layer's root, or null when the layer is a directory. The last ones asked for stay mounted.
  Result<LayerRoot> root(std::uint64_t number) EXCLUDES(mutex_);
  // The layer is going to be removed.
  void forget(std::uint64_t number) EXCLUDES(mutex_);
  // Makes the directory `number` with the image of the tar, complete under its name or not there at all. Not synced.
  // Options but for the spill directory.
  Result<ExtractStats> write(std::uint64_t number, ByteSource& tar, ErofsLayerOptions options) const;

 private:
  using Recent = std::list<std::pair<std::uint64_t, LayerRoot>>;  // the last one first

  int base_;
  Mutex mutex_;
  Recent recent_ GUARDED_BY(mutex_);
  std::map<std::uint64_t, Recent::iterator> places_ GUARDED_BY(mutex_);
};

}  // namespace corten::store
