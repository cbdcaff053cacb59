// The state behind Images. Private to the module; its operations are spread over the .cc files by verb.
//
// Writers build blobs and layers without any lock, under pins that keep the collector off, and then replace the
// catalogue in one step under write_mutex_: database first, memory second.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "image/catalog.h"
#include "image/disposal.h"
#include "image/images.h"
#include "image/transfers.h"
#include "store/archive.h"

namespace corten::image {

class LayerIntake;
class Lease;

// All that an image keeps alive: digests and chain ids.
template <class Visitor>
void for_each_name(const Image& image, Visitor visit) {
  visit(image.id);
  visit(image.manifest_digest);
  for (const oci::Descriptor& layer : image.manifest.layers) visit(layer.digest);
  for (const std::string& chain : image.chains) visit(chain);
}

struct NewImage {
  oci::Digest manifest;
  oci::Digest config;
  std::string parent;
  std::vector<std::string> names;  // full, with tag
  std::optional<Origin> origin = std::nullopt;
};

class Images::Impl {
 public:
  explicit Impl(store::Store& store) : store_(store), catalog_(std::make_shared<Catalog>()) {}

  // Digests and chain ids that an operation relies on before an image refers to them. Thread-safe.
  class Pins {
   public:
    explicit Pins(Impl& impl) : impl_(impl) {}
    // Collects what was pinned and did not make it into an image.
    ~Pins() EXCLUDES(impl_.write_mutex_, impl_.pins_mutex_);
    Pins(const Pins&) = delete;
    Pins& operator=(const Pins&) = delete;
    void add(const std::string& name) EXCLUDES(impl_.pins_mutex_);
    // A layer and its blob.
    void add(const Layer& layer) EXCLUDES(impl_.pins_mutex_);
    std::set<std::string> names() const EXCLUDES(impl_.pins_mutex_);
    // They end without collecting.
    void let_be() EXCLUDES(impl_.pins_mutex_);

   private:
    Impl& impl_;
    std::set<std::string> names_ GUARDED_BY(impl_.pins_mutex_);
  };

  Result<> open(const OpenOptions& options) EXCLUDES(write_mutex_);
  void release_kept() EXCLUDES(write_mutex_, pins_mutex_);
  CatalogPtr catalog() const EXCLUDES(catalog_mutex_) {
    const MutexLock lock(catalog_mutex_);
    return catalog_;
  }
  Result<ImagePtr> resolve(std::string_view reference) const;

  // Makes the image and its names visible, durably. Blobs and layers must be there, pinned. Returns the id.
  Result<std::string> publish(const NewImage& image) EXCLUDES(write_mutex_);
  Result<std::string> import(store::ByteSource& tar, const ImportOptions& options) EXCLUDES(write_mutex_);
  Result<std::string> commit(const CommitOptions& options) EXCLUDES(write_mutex_);
  Result<std::vector<std::string>> load(store::ByteSource& tar, const LoadOptions& options) EXCLUDES(write_mutex_);
  Result<> save(const std::vector<std::string>& references, store::ByteSink& tar, const SaveOptions& options);
  Result<> tag(std::string_view source, std::string_view target) EXCLUDES(write_mutex_);
  // After a push: repository@digest as a further name of the image, durably; nothing where it was removed meanwhile.
  Result<> add_digest_name(const std::string& id, const std::string& full_name) EXCLUDES(write_mutex_);
  // An image whose documents could not be read when the store was opened, and now can.
  Result<> revive(const std::string& id) EXCLUDES(write_mutex_);
  Result<std::vector<DeleteItem>> remove(std::string_view reference, const RemoveOptions& options)
      EXCLUDES(write_mutex_);
  Result<PruneReport> prune(const PruneOptions& options) EXCLUDES(write_mutex_);
  Result<std::vector<ImageSummary>> list(const ListOptions& options) const;
  Result<std::vector<HistoryItem>> history(std::string_view reference) const;
  UsageReport usage() const EXCLUDES(pins_mutex_);
  void container_gone(std::string_view image_id) EXCLUDES(write_mutex_);

  store::Store& store() const { return store_; }
  Transfers& transfers() { return transfers_; }

 private:
  friend class Remover;
  Result<std::shared_ptr<Image>> read_image(const oci::Digest& manifest, const oci::Digest& config) const;
  // Pins what is asked to be kept and can be.
  void repair_layers(const std::vector<Layer>& keep) EXCLUDES(pins_mutex_);
  Result<> restore_layers(const Image& image);
  void collect_everything() REQUIRES(write_mutex_);
  // Those of the names that nobody has pinned any more.
  std::set<std::string> unpin(const std::set<std::string>& names) REQUIRES(pins_mutex_);
  // Removes those of the names (digests, chain ids) that no image and no pin uses.
  void collect(const std::set<std::string>& names) REQUIRES(write_mutex_) EXCLUDES(pins_mutex_);
  // The layers (top first) that went, as rmi lists them: these, and those below that only they kept.
  std::vector<std::string> collect_layers(const std::set<std::string>& chains, const Catalog& catalog)
      REQUIRES(write_mutex_) EXCLUDES(pins_mutex_);
  void replace(std::shared_ptr<const Catalog> next) REQUIRES(write_mutex_) EXCLUDES(catalog_mutex_);
  // Database and memory together.
  Result<> untag_locked(const std::string& id, const std::vector<std::string>& full_names) REQUIRES(write_mutex_);
  Result<std::vector<std::string>> delete_locked(const std::string& id) REQUIRES(write_mutex_);

  store::Store& store_;
  Transfers transfers_;
  Disposal disposal_;
  bool complete_ = true;  // every recorded image could be read; set by open()

  // Serialises what changes the catalogue. Held over the database's commit: whoever changes images waits for the disk,
  // readers do not. Taken before the two others.
  Mutex write_mutex_;
  mutable Mutex catalog_mutex_;
  CatalogPtr catalog_ GUARDED_BY(catalog_mutex_);  // replaced only with write_mutex_ held, too
  mutable Mutex pins_mutex_;
  std::map<std::string, unsigned> pins_ GUARDED_BY(pins_mutex_);
  std::set<std::string> kept_ GUARDED_BY(pins_mutex_);  // OpenOptions::keep, pinned once
};

// What Images shows to layers.h.
struct LayerAccess {
  static Images::Impl& of(const Images& images) { return *images.impl_; }
  static Images::Impl::Pins& of(const Lease& lease);  // layers.cc
};

// One pass over the tar that `fill` writes: its layer on `parent`, pinned. Nothing where the tar has no entry.
Result<std::optional<Layer>> make_layer(store::Store& store, Images::Impl::Pins& pins, const std::string& parent,
                                        const std::function<Result<>(LayerIntake&)>& fill);
// What an intake that has finished has read: its blob gets its name, blob and layer are pinned.
Result<Layer> commit_blob(LayerIntake& intake, Images::Impl::Pins& pins, const std::string& parent);
// The media type of a layer blob as stored.
std::string_view layer_media_type(store::Compression compression);
// Writes config and manifest, flushes the names of all blobs, and publishes the image.
Result<std::string> publish_config(Images::Impl& impl, Images::Impl::Pins& pins, const oci::ImageConfig& config,
                                   std::vector<oci::Descriptor> layers, const std::string& parent,
                                   std::vector<std::string> names);
// The full names of one repo[:tag] option, none for "".
Result<std::vector<std::string>> names_of_option(const std::string& reference);

}  // namespace corten::image
