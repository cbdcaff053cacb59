// What nobody needs any more goes: pins, and who is asked before something is removed.
#include <unordered_set>

#include "image/images_impl.h"

namespace corten::image {

void Images::Impl::Pins::add(const std::string& name) {
  const MutexLock lock(impl_.pins_mutex_);
  if (names_.insert(name).second) ++impl_.pins_[name];
}

void Images::Impl::Pins::add(const Layer& layer) {
  add(layer.chain_id);
  add(layer.blob.digest);
}

std::set<std::string> Images::Impl::Pins::names() const {
  const MutexLock lock(impl_.pins_mutex_);
  return names_;
}

void Images::Impl::Pins::let_be() {
  const MutexLock lock(impl_.pins_mutex_);
  static_cast<void>(impl_.unpin(std::exchange(names_, {})));
}

Images::Impl::Pins::~Pins() {
  std::set<std::string> left;
  {
    const MutexLock lock(impl_.pins_mutex_);
    left = impl_.unpin(names_);
  }
  // What others have pinned, too, goes with the last of them.
  if (left.empty()) return;
  const MutexLock lock(impl_.write_mutex_);
  impl_.collect(left);
}

std::set<std::string> Images::Impl::unpin(const std::set<std::string>& names) {
  std::set<std::string> left;
  for (const std::string& name : names) {
    const auto found = pins_.find(name);
    if (found == pins_.end() || --found->second > 0) continue;
    pins_.erase(found);
    left.insert(name);
  }
  return left;
}

void Images::Impl::release_kept() {
  std::set<std::string> left;
  {
    const MutexLock lock(pins_mutex_);
    left = unpin(std::exchange(kept_, {}));
  }
  if (left.empty() || !complete_) return;
  const MutexLock lock(write_mutex_);
  collect(left);
}

void Images::Impl::collect(const std::set<std::string>& names) {
  const CatalogPtr now = catalog();
  std::set<std::string> left = names;
  for (const auto& [id, image] : now->images) {
    for_each_name(*image, [&](const std::string& used) { left.erase(used); });
    if (left.empty()) return;
  }
  static_cast<void>(collect_layers(left, *now));
  std::vector<UniqueFd> files;
  {
    const MutexLock lock(pins_mutex_);
    for (const std::string& name : left) {
      const auto digest = oci::Digest::parse(name);
      if (pins_.contains(name) || !digest || !store_.content().has(*digest)) continue;
      auto file = store_.content().reader(*digest);
      if (store_.content().remove(*digest) && file) files.push_back(std::move(*file));
    }
  }
  disposal_.close(std::move(files));
}

std::vector<std::string> Images::Impl::collect_layers(const std::set<std::string>& chains, const Catalog& catalog) {
  std::unordered_set<std::string_view> used;
  for (const auto& [id, image] : catalog.images) used.insert(image->chains.begin(), image->chains.end());
  std::vector<std::string> removed;
  store::Snapshots& snapshots = store_.snapshots();
  const MutexLock lock(pins_mutex_);
  for (const std::string& chain : chains) {
    // Where something stands on it, it goes with that: from the top down.
    for (std::string at = chain; !at.empty() && !pins_.contains(at) && !used.contains(at);) {
      const auto info = snapshots.layer(at);
      if (!info || !snapshots.remove_layer(at)) break;
      removed.push_back(std::exchange(at, info->parent));
    }
  }
  return removed;
}

// What a crash left: blobs and layers that no image knows.
void Images::Impl::collect_everything() {
  std::set<std::string> names;
  if (const auto blobs = store_.content().list())
    for (const store::BlobInfo& blob : *blobs) names.insert(blob.digest.text());
  for (const store::LayerInfo& layer : store_.snapshots().layers()) names.insert(layer.chain_id);
  collect(names);
}

void Images::Impl::container_gone(std::string_view image_id) {
  if (!complete_ || catalog()->images.contains(image_id)) return;
  std::set<std::string> chains;
  for (const store::LayerInfo& layer : store_.snapshots().layers()) chains.insert(layer.chain_id);
  const MutexLock lock(write_mutex_);
  static_cast<void>(collect_layers(chains, *catalog()));
}

}  // namespace corten::image
