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

// One layer on its parents.
struct Layer {
  std::string chain_id, diff_id;
  oci::Descriptor blob;     // compressed, in the content store
  std::uint64_t bytes = 0;  // of its files, unpacked
};

// Digests and chain ids that stay as long as this lives; what no image and no other lease has goes with it. Thread-safe.
class Lease {
 public:
  explicit Lease(Images& images);
  ~Lease();
  Lease(const Lease&) = delete;
  Lease& operator=(const Lease&) = delete;
  void add(const std::string& name);
  void add(const Layer& layer);  // chain id and blob
  std::set<std::string> names() const;

 private:
  class Impl;
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
// Durable at return; the id.
Result<std::string> add_image(Images& images, Lease& lease, const BuiltImage& image);

}  // namespace corten::image
