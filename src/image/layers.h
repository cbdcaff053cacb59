// Layers and images that a build makes, step by step: layers that no image has yet, kept from the collector by a lease.
#pragma once

#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/time.h"
#include "image/images.h"
#include "oci/image.h"
#include "store/stream.h"

namespace corten::image {

// Digests and chain ids that stay as long as this lives; what no image and no other lease has goes with it. A layer
// needs those below it: their blobs and chain ids belong into its lease, too. Thread-safe. `images` must outlive it.
class Lease {
 public:
  explicit Lease(Images& images);
  ~Lease();
  Lease(const Lease&) = delete;
  Lease& operator=(const Lease&) = delete;
  void add(const std::string& name);
  void add(const Layer& layer);  // chain id and blob
  std::set<std::string> names() const;
  // It ends without anything being collected, for the end of the daemon: the next one says what is kept (OpenOptions).
  void let_be();

 private:
  class Impl;
  friend struct LayerAccess;
  std::unique_ptr<Impl> impl_;
};

// All layers of an image, from the bottom; leased.
Result<std::vector<Layer>> lease_layers(Images& images, const Image& image, Lease& lease);
// Whether a layer and its blob are there (a record of a cache may have outlived them).
bool has_layer(Images& images, const Layer& layer);

// An uncompressed layer tar on `parent` ("" for none). Nothing where the tar has no entry. `clean` tells of an
// unfinished one: nothing remains.
Result<std::optional<Layer>> add_layer(Images& images, Lease& lease, const std::string& parent, store::ByteSource& tar);
// The changes of an active snapshot as a layer, without copying files where the driver can; the snapshot is spent.
// Files that are younger than `newest` get that time, in the layer and in its tar; sorted entries, fixed compression:
// the same changes make the same digest. Nothing where nothing changed (the snapshot is spent all the same).
Result<std::optional<Layer>> take_changes(Images& images, Lease& lease, const std::string& parent,
                                          const std::string& snapshot_key, std::optional<Timestamp> newest);

struct BuiltImage {
  oci::ImageConfig config;  // with rootfs and history; nothing of it is changed
  std::vector<Layer> layers;
  std::string parent;              // id of the image it was made from where that is here, else ""
  std::vector<std::string> names;  // repo[:tag], moved if they exist
};
// Durable at return; the id. not_found where a layer or its blob is not there.
Result<std::string> add_image(Images& images, Lease& lease, const BuiltImage& image);

}  // namespace corten::image
