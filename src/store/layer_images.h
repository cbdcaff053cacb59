// Layers that are one file, an EROFS image, instead of a directory: snapshots/<number>/layer.erofs. Private to the
// overlay driver.
#pragma once

#include <cstdint>
#include <list>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "base/mutex.h"
#include "store/erofs_layer.h"
#include "store/image_mount.h"

namespace corten::store {

class LayerImages {
 public:
  // `base` is the snapshots directory (borrowed), `again` as for mount_image.
  LayerImages(int base, ImageWay way, bool again) : base_(base), way_(way), again_(again) {}

  // The layer's root, or null when the layer is a directory. The last ones asked for stay mounted.
  Result<LayerRoot> root(std::uint64_t number) EXCLUDES(mutex_);
  // The layer is going to be removed, or has been.
  void forget(std::uint64_t number) EXCLUDES(mutex_);
  // Makes the directory `number` with the image of the tar, complete under its name or not there at all. Not synced.
  // Options but for the spill directory.
  Result<ExtractStats> write(std::uint64_t number, ByteSource& tar, ErofsLayerOptions options) const;

  // Whether there are compressed files in the image; none when there is no image that could be asked.
  std::optional<erofs::Compression> compression(std::uint64_t number) const;
  // Whether the image `old`, of which nothing is believed, holds what `made` holds, just made of the same tar with the
  // same compression.
  Result<bool> same(std::uint64_t old, std::uint64_t made) const;

 private:
  // Mounts of one image that are being made.
  struct Making {
    unsigned count = 0;
    bool forgotten = false;  // meanwhile: nobody would take it out again
  };
  UniqueFd open(std::uint64_t number) const;
  // Null when the layer is a directory.
  Result<LayerRoot> mount(std::uint64_t number) const;
  // Whether the image was forgotten meanwhile.
  bool end_making(std::uint64_t number) REQUIRES(mutex_);

  using Recent = std::list<std::pair<std::uint64_t, LayerRoot>>;  // the last one first

  int base_;
  ImageWay way_;
  bool again_;
  Mutex mutex_;
  Recent recent_ GUARDED_BY(mutex_);
  std::map<std::uint64_t, Making> making_ GUARDED_BY(mutex_);
  std::map<std::uint64_t, Recent::iterator> places_ GUARDED_BY(mutex_);
};

}  // namespace corten::store
