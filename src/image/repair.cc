// After a power cut: layers whose files may be torn, and layers that are not there at all, from their blobs.
#include <algorithm>

#include "base/log.h"
#include "image/images_impl.h"
#include "image/layer_unpack.h"

namespace corten::image {
namespace {

struct Source {
  std::string blob, diff_id;
};
using Sources = std::map<std::string, Source>;  // by chain id

Sources sources_of(const Catalog& catalog, const std::vector<Layer>& keep) {
  Sources out;
  for (const Layer& layer : keep) out[layer.chain_id] = {layer.blob.digest, layer.diff_id};
  for (const auto& [id, image] : catalog.images)
    for (std::size_t i = 0; i < image->chains.size(); ++i)
      out[image->chains[i]] = {image->manifest.layers[i].digest, image->config.rootfs.diff_ids[i]};
  return out;
}

// What each layer stands on.
class Parents {
 public:
  explicit Parents(const store::Snapshots& snapshots) {
    for (store::LayerInfo& layer : snapshots.layers()) parents_[layer.chain_id] = std::move(layer.parent);
  }
  // From the layer down to the bottom.
  std::vector<std::string> below(std::string chain) const {
    std::vector<std::string> out;
    while (!chain.empty()) {
      out.push_back(chain);
      const auto found = parents_.find(chain);
      chain = found == parents_.end() ? "" : found->second;
    }
    return out;
  }

 private:
  std::map<std::string, std::string> parents_;
};

Result<> rebuild(store::Store& store, const std::string& chain, const Source* source) {
  // Of an image that could not be read or that was removed from under a container: nobody knows what it was.
  if (source == nullptr) return store.snapshots().rebuild_layer(chain, nullptr);
  const oci::Digest digest = TRY(oci::Digest::parse(source->blob));
  store::FdSource blob(TRY(store.content().reader(digest)));
  const auto tar = TRY(store::decompress(blob));
  VerifiedTar verified(*tar, source->diff_id);
  return store.snapshots().rebuild_layer(chain, &verified);
}

}  // namespace

void Images::Impl::repair_layers(const std::vector<Layer>& keep) {
  auto suspects = store_.snapshots().suspect_layers();
  const Sources sources = sources_of(*catalog(), keep);
  const Parents parents(store_.snapshots());
  // A layer is unpacked by the look of those below it.
  std::map<std::string, std::size_t> depths;
  for (const std::string& chain : suspects) depths[chain] = parents.below(chain).size();
  std::ranges::stable_sort(suspects, {}, [&](const std::string& chain) { return depths[chain]; });
  std::set<std::string> torn;
  for (const std::string& chain : suspects) {
    const auto source = sources.find(chain);
    if (auto done = rebuild(store_, chain, source == sources.end() ? nullptr : &source->second); !done) {
      torn.insert(chain);
      log::error("layer {} may be damaged and cannot be unpacked again: {}", chain, done.error().text());
    } else {
      log::info("layer {} was unpacked again after an unclean stop of the machine", chain);
    }
  }
  for (const auto& [id, image] : catalog()->images)
    if (auto done = restore_layers(*image); !done) log::error("image {} cannot be run: {}", id, done.error().text());
  const MutexLock lock(pins_mutex_);
  for (const Layer& layer : keep) {
    const auto below = parents.below(layer.chain_id);
    if (std::ranges::any_of(below, [&](const std::string& chain) { return torn.contains(chain); })) continue;
    for (const std::string& name : {layer.chain_id, layer.blob.digest})
      if (kept_.insert(name).second) ++pins_[name];
  }
}

Result<> Images::Impl::restore_layers(const Image& image) {
  std::string parent;
  const auto& chains = image.chains;
  for (std::size_t i = 0; i < chains.size(); ++i) {
    if (!store_.snapshots().has_layer(chains[i])) {
      const oci::Digest digest = TRY(oci::Digest::parse(image.manifest.layers[i].digest));
      store::FdSource blob(TRY(store_.content().reader(digest)));
      CHECK(unpack_layer(store_, blob, parent, image.config.rootfs.diff_ids[i], chains[i]));
    }
    parent = chains[i];
  }
  return {};
}

}  // namespace corten::image
