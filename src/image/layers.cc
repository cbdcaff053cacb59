#include "image/layers.h"

#include <unordered_set>

#include "base/cleanup.h"
#include "base/log.h"
#include "image/images_impl.h"
#include "image/layer_intake.h"
#include "store/failpoint.h"

namespace corten::image {

class Lease::Impl {
 public:
  explicit Impl(Images::Impl& images) : pins(images) {}
  Images::Impl::Pins pins;
};

Images::Impl::Pins& LayerAccess::of(const Lease& lease) { return lease.impl_->pins; }

Lease::Lease(Images& images) : impl_(std::make_unique<Impl>(LayerAccess::of(images))) {}
Lease::~Lease() = default;
void Lease::add(const std::string& name) { impl_->pins.add(name); }
void Lease::add(const Layer& layer) { impl_->pins.add(layer); }
std::set<std::string> Lease::names() const { return impl_->pins.names(); }
void Lease::let_be() { impl_->pins.let_be(); }

namespace {

bool has_blob(store::Store& store, const std::string& digest) {
  const auto parsed = oci::Digest::parse(digest);
  return parsed && store.content().has(*parsed);
}

bool is_there(store::Store& store, const Layer& layer) {
  return store.snapshots().has_layer(layer.chain_id) && has_blob(store, layer.blob.digest);
}

}  // namespace

Result<std::vector<Layer>> lease_layers(Images& images, const Image& image, Lease& lease) {
  store::Store& store = LayerAccess::of(images).store();
  std::vector<Layer> out;
  for (std::size_t i = 0; i < image.chains.size(); ++i) {
    Layer layer{.chain_id = image.chains[i],
                .diff_id = image.config.rootfs.diff_ids[i],
                .blob = image.manifest.layers[i],
                .bytes = 0};
    lease.add(layer);
    // Leased now; but somebody may have removed the image just before.
    const auto info = store.snapshots().layer(layer.chain_id);
    if (!info || !has_blob(store, layer.blob.digest)) return no_such_image(image.id);
    layer.bytes = info->bytes;
    out.push_back(std::move(layer));
  }
  return out;
}

bool has_layer(Images& images, const Layer& layer) { return is_there(LayerAccess::of(images).store(), layer); }

Result<std::optional<Layer>> add_layer(Images& images, Lease& lease, const std::string& parent,
                                       store::ByteSource& tar) {
  return make_layer(LayerAccess::of(images).store(), LayerAccess::of(lease), parent,
                    [&](LayerIntake& intake) { return intake.read(tar); });
}

Result<std::optional<Layer>> take_changes(Images& images, Lease& lease, const std::string& parent,
                                          const std::string& snapshot_key, std::optional<Timestamp> newest) {
  store::Store& store = LayerAccess::of(images).store();
  store::Snapshots& snapshots = store.snapshots();
  Cleanup drop([&] {
    if (auto removed = snapshots.remove(snapshot_key); !removed)
      log::warn("snapshot {}: {}", snapshot_key, removed.error().text());
  });
  const store::DiskUsage size = TRY(snapshots.settle(snapshot_key, newest));
  if (size.inodes == 0) return std::nullopt;
  store::failpoint("changes-settled");
  // Read once; hashed and compressed on the way. The files stay where they are.
  const auto intake = TRY(LayerIntake::open(store, {.parent = {}}));
  CHECK(snapshots.write_diff(snapshot_key, *intake));
  CHECK(intake->finish());
  Layer out = TRY(commit_blob(*intake, LayerAccess::of(lease), parent));
  store::failpoint("changes-blob");
  const store::LayerInfo info = TRY(snapshots.commit(snapshot_key, out.chain_id, size));
  drop.cancel();
  if (info.parent != parent)
    return fail(ErrorKind::internal, "snapshot {} stands on {:?}, not on {:?}", snapshot_key, info.parent, parent);
  out.bytes = info.bytes;
  store::failpoint("changes-taken");
  return out;
}

Result<std::string> add_image(Images& images, Lease& lease, const BuiltImage& image) {
  Images::Impl& impl = LayerAccess::of(images);
  if (image.layers.size() != image.config.rootfs.diff_ids.size())
    return fail(ErrorKind::invalid, "the image has {} layers and {} diff ids", image.layers.size(),
                image.config.rootfs.diff_ids.size());
  std::vector<std::string> names;
  for (const std::string& name : image.names)
    for (std::string& full : TRY(names_of_option(name))) names.push_back(std::move(full));
  std::vector<oci::Descriptor> blobs;
  for (const Layer& layer : image.layers) {
    lease.add(layer);
    if (!is_there(impl.store(), layer)) return fail(ErrorKind::not_found, "no such layer: {}", layer.chain_id);
    blobs.push_back(layer.blob);
  }
  return publish_config(impl, LayerAccess::of(lease), image.config, std::move(blobs), image.parent, std::move(names));
}

}  // namespace corten::image
