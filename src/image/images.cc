#include "image/images.h"

#include <algorithm>

#include "base/log.h"
#include "image/images_impl.h"
#include "store/failpoint.h"

namespace corten::image {
namespace {

constexpr std::size_t max_document = 8U << 20;

Timestamp time_of(const std::string& text) {
  const auto time = parse_rfc3339(text);
  return time ? *time : Timestamp{};
}

// Origins are objects named "<image id> <repository>": those of one image are what lies between these two.
constexpr const char* first_origin = " ";
constexpr const char* past_origins = "!";

// A later pull that nobody verified does not take away what an earlier one found.
store::Statement origin_statement(const std::string& id, const Origin& origin) {
  const std::string name = id + first_origin + origin.repository;
  if (origin.record.empty())
    return {"INSERT INTO objects(kind, id, json) VALUES('origin', ?, '') ON CONFLICT DO NOTHING", {name}};
  return {"INSERT INTO objects(kind, id, json) VALUES('origin', ?, ?) ON CONFLICT DO UPDATE SET json = excluded.json",
          {name, origin.record}};
}

}  // namespace

// --- opening

Result<std::shared_ptr<Image>> Images::Impl::read_image(const oci::Digest& manifest, const oci::Digest& config) const {
  auto image = std::make_shared<Image>();
  image->id = config.text();
  image->manifest_digest = manifest.text();
  const std::string config_text = TRY_AS(store_.content().read(config, max_document), "image config");
  image->config = TRY(oci::parse_image_config(config_text));
  const std::string manifest_text = TRY_AS(store_.content().read(manifest, max_document), "image manifest");
  image->manifest = TRY(oci::parse_manifest(manifest_text));
  if (image->manifest.layers.size() != image->config.rootfs.diff_ids.size())
    return fail(ErrorKind::invalid, "image {} has {} layers in its manifest and {} in its config", image->id,
                image->manifest.layers.size(), image->config.rootfs.diff_ids.size());
  image->created = time_of(image->config.created);
  image->chains = oci::chain_ids(image->config.rootfs.diff_ids);
  if (!image->chains.empty()) image->chain_id = image->chains.back();
  for (const std::string& chain : image->chains)
    if (const auto layer = store_.snapshots().layer(chain)) image->size += layer->bytes;
  return image;
}

Result<> Images::Impl::open(const OpenOptions& options) {
  auto next = std::make_shared<Catalog>();
  for (const store::SqlRow& row : TRY(store_.database().query("SELECT id, manifest, parent, tagged FROM images"))) {
    const auto config = oci::Digest::parse(store::as_text(row[0])),
               manifest = oci::Digest::parse(store::as_text(row[1]));
    auto image = config && manifest ? read_image(*manifest, *config)
                                    : Result<std::shared_ptr<Image>>(fail(ErrorKind::internal, "damaged record"));
    if (!image) {
      log::error("image {} is left out: {}", store::as_text(row[0]), image.error().text());
      complete_ = false;
      continue;
    }
    (*image)->parent = store::as_text(row[2]);
    (*image)->tagged = Timestamp(std::chrono::nanoseconds(store::as_int(row[3])));
    next->images[(*image)->id] = std::move(*image);
  }
  for (const store::SqlRow& row : TRY(store_.database().query("SELECT name, image FROM tags")))
    if (next->images.contains(store::as_text(row[1]))) next->tags[store::as_text(row[0])] = store::as_text(row[1]);
  // Nobody else is there yet; it is what replace() and the collector ask for.
  const MutexLock lock(write_mutex_);
  replace(std::move(next));
  repair_layers(options.keep);
  // What belongs to an image that could not be read must not be taken for rubbish.
  if (complete_) collect_everything();
  return {};
}

void Images::Impl::replace(std::shared_ptr<const Catalog> next) {
  const MutexLock lock(catalog_mutex_);
  catalog_ = std::move(next);
}

Result<ImagePtr> Images::Impl::resolve(std::string_view reference) const {
  ImagePtr image = TRY(catalog()->find(reference));
  if (image == nullptr) return no_such_image(reference);
  return image;
}

// --- making visible

Result<std::string> Images::Impl::publish(const NewImage& made) {
  auto image = TRY(read_image(made.manifest, made.config));
  const MutexLock lock(write_mutex_);
  const CatalogPtr now_known = catalog();
  auto next = std::make_shared<Catalog>(*now_known);
  const Timestamp time = now();
  const std::int64_t stamp = time.time_since_epoch().count();
  store::Transaction transaction;
  const auto known = next->images.find(image->id);
  if (known != next->images.end()) {
    // The manifest it came with first stays: its blobs are there.
    image = std::make_shared<Image>(*known->second);
    if (image->parent.empty()) image->parent = made.parent;
  } else {
    image->parent = made.parent;
  }
  if (!made.names.empty()) image->tagged = time;
  transaction.push_back(
      {"INSERT INTO images(id, manifest, parent, tagged) VALUES(?, ?, ?, ?) "
       "ON CONFLICT DO UPDATE SET parent = excluded.parent, tagged = excluded.tagged",
       {image->id, image->manifest_digest, image->parent,
        made.names.empty() ? image->tagged.time_since_epoch().count() : stamp}});
  for (const std::string& name : made.names) {
    transaction.push_back(
        {"INSERT INTO tags(name, image) VALUES(?, ?) ON CONFLICT DO UPDATE SET image = excluded.image",
         {name, image->id}});
    next->tags[name] = image->id;
  }
  if (made.origin) transaction.push_back(origin_statement(image->id, *made.origin));
  store::failpoint("image-before-publish");
  CHECK_AS(store_.database().commit(std::move(transaction)), "record image " + image->id);
  store::failpoint("image-published");
  std::string id = image->id;
  next->images[id] = std::move(image);
  replace(std::move(next));
  return id;
}

Result<> Images::Impl::tag(std::string_view source, std::string_view target) {
  const ImagePtr image = TRY(resolve(source));
  oci::Reference name = TRY(oci::parse_reference(target));
  if (!name.digest.empty()) return fail(ErrorKind::invalid, "refusing to create a tag with a digest reference");
  CHECK(name.may_be_given());
  const std::string full = name.with_default_tag().full();
  const MutexLock lock(write_mutex_);
  auto next = std::make_shared<Catalog>(*catalog());
  const auto known = next->images.find(image->id);
  if (known == next->images.end()) return no_such_image(source);
  auto tagged = std::make_shared<Image>(*known->second);
  tagged->tagged = now();
  CHECK(store_.database().commit(
      {{"INSERT INTO tags(name, image) VALUES(?, ?) ON CONFLICT DO UPDATE SET image = excluded.image",
        {full, image->id}},
       {"UPDATE images SET tagged = ? WHERE id = ?",
        {static_cast<std::int64_t>(tagged->tagged.time_since_epoch().count()), image->id}}}));
  next->tags[full] = image->id;
  known->second = std::move(tagged);
  replace(std::move(next));
  return {};
}

Result<> Images::Impl::untag_locked(const std::string& id, const std::vector<std::string>& full_names) {
  store::Transaction transaction;
  auto next = std::make_shared<Catalog>(*catalog());
  for (const std::string& name : full_names) {
    transaction.push_back({"DELETE FROM tags WHERE name = ? AND image = ?", {name, id}});
    if (const auto tag = next->tags.find(name); tag != next->tags.end() && tag->second == id) next->tags.erase(tag);
  }
  CHECK(store_.database().commit(std::move(transaction)));
  replace(std::move(next));
  return {};
}

Result<std::vector<std::string>> Images::Impl::delete_locked(const std::string& id) {
  const CatalogPtr before = catalog();
  const auto found = before->images.find(id);
  if (found == before->images.end()) return no_such_image(id);
  store::failpoint("image-before-delete");
  CHECK(store_.database().commit(
      {{"DELETE FROM tags WHERE image = ?", {id}},
       {"DELETE FROM images WHERE id = ?", {id}},
       {"DELETE FROM objects WHERE kind = 'origin' AND id > ? AND id < ?", {id + first_origin, id + past_origins}}}));
  store::failpoint("image-deleted");
  auto next = std::make_shared<Catalog>(*before);
  next->images.erase(id);
  std::erase_if(next->tags, [&](const auto& tag) { return tag.second == id; });
  const ImagePtr gone = found->second;
  replace(next);
  // The layers by themselves first, because the answer lists them.
  std::set<std::string> names;
  for_each_name(*gone, [&](const std::string& name) { names.insert(name); });
  for (const auto& [other, image] : next->images)
    for_each_name(*image, [&](const std::string& used) { names.erase(used); });
  std::set<std::string> chains;
  for (const std::string& chain : gone->chains)
    if (names.contains(chain)) chains.insert(chain);
  std::vector<std::string> removed = collect_layers(chains, *next);
  collect(names);
  return removed;
}

// --- the public class

Images::Images(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Images::~Images() = default;

Result<std::unique_ptr<Images>> Images::open(store::Store& store, const OpenOptions& options) {
  auto impl = std::make_unique<Impl>(store);
  CHECK_AS(impl->open(options), "open the images");
  return std::unique_ptr<Images>(new Images(std::move(impl)));
}

void Images::release_kept() { impl_->release_kept(); }

Result<ImagePtr> Images::resolve(std::string_view reference) const { return impl_->resolve(reference); }

Result<ImageSummary> Images::summary(std::string_view reference) const {
  const CatalogPtr catalog = impl_->catalog();
  const ImagePtr image = TRY(catalog->find(reference));
  if (image == nullptr) return no_such_image(reference);
  return catalog->summary_of(image);
}

Result<std::vector<ImageSummary>> Images::list(const ListOptions& options) const { return impl_->list(options); }

std::vector<std::string> Images::names(std::string_view image_id) const {
  std::vector<std::string> out;
  for (const std::string& name : impl_->catalog()->names_of(image_id))
    if (!is_digest_name(name)) out.push_back(familiar_of(name));
  return out;
}

std::size_t Images::count() const { return impl_->catalog()->images.size(); }
Result<std::vector<HistoryItem>> Images::history(std::string_view reference) const { return impl_->history(reference); }

Result<std::string> Images::raw_config(std::string_view image_id) const {
  const ImagePtr image = TRY(impl_->resolve(image_id));
  const oci::Digest digest = TRY(oci::Digest::parse(image->id));
  return impl_->store().content().read(digest, max_document);
}

UsageReport Images::usage() const { return impl_->usage(); }
Result<std::vector<Origin>> Images::origins(std::string_view image_id) const {
  const std::string id(image_id);
  std::vector<Origin> out;
  for (const store::SqlRow& row :
       TRY(impl_->store().database().query("SELECT id, json FROM objects WHERE kind = 'origin' AND id > ? AND id < ?",
                                           {id + first_origin, id + past_origins})))
    out.push_back({store::as_text(row[0]).substr(id.size() + 1), store::as_text(row[1])});
  return out;
}
void Images::container_gone(std::string_view image_id) { impl_->container_gone(image_id); }

Result<std::string> Images::import(store::ByteSource& tar, const ImportOptions& options) {
  return impl_->import(tar, options);
}
Result<std::vector<std::string>> Images::load(store::ByteSource& tar, const LoadOptions& options) {
  return impl_->load(tar, options);
}
Result<std::string> Images::commit(const CommitOptions& options) { return impl_->commit(options); }
Result<> Images::save(const std::vector<std::string>& references, store::ByteSink& tar,
                      const SaveOptions& options) const {
  return impl_->save(references, tar, options);
}
Result<> Images::tag(std::string_view source, std::string_view target) { return impl_->tag(source, target); }
Result<std::vector<DeleteItem>> Images::remove(std::string_view reference, const RemoveOptions& options) {
  return impl_->remove(reference, options);
}
Result<PruneReport> Images::prune(const PruneOptions& options) { return impl_->prune(options); }

}  // namespace corten::image
