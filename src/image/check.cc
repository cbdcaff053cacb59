#include "image/check.h"

#include <algorithm>
#include <map>
#include <set>

#include "image/check_fetch.h"
#include "image/images_impl.h"
#include "image/layer_unpack.h"
#include "image/while_wanted.h"
#include "store/archive.h"

namespace corten::image {
namespace {

constexpr std::size_t max_document = 8U << 20;

// What the database says of an image; whether it can be read is another question.
struct Record {
  std::string id;                  // digest of the config
  std::string manifest;            // digest
  std::vector<std::string> names;  // full
};

std::string short_id(std::string_view digest) { return std::string(digest.substr(digest.find(':') + 1, 12)); }

// Blobs and layers of all images in turn, each once, those before others that are needed to repair them.
class Checker {
 public:
  Checker(Images::Impl& impl, const CheckOptions& options) : impl_(impl), options_(options), pins_(impl) {}

  Result<CheckReport> run() {
    CHECK(read_records());
    for (const Record& record : records_) CHECK(documents(record));
    for (const Record& record : records_) CHECK(layers(record));
    return std::move(report_);
  }

 private:
  store::ContentStore& content() const { return impl_.store().content(); }

  Result<> read_records() {
    std::map<std::string, std::vector<std::string>> names;
    for (const store::SqlRow& row : TRY(impl_.store().database().query("SELECT name, image FROM tags")))
      names[std::string(store::as_text(row[1]))].emplace_back(store::as_text(row[0]));
    // Nothing of them goes while we look; but what went before it was pinned is no damage.
    std::set<std::string> pinned;
    for (const Record& record : TRY(recorded())) {
      pins_.add(record.id);
      pins_.add(record.manifest);
      pinned.insert(record.id);
    }
    for (Record& record : TRY(recorded())) {
      if (!pinned.contains(record.id)) continue;  // younger than this check
      record.names = names[record.id];
      records_.push_back(std::move(record));
    }
    report_.images = records_.size();
    return {};
  }

  Result<std::vector<Record>> recorded() const {
    std::vector<Record> out;
    for (const store::SqlRow& row : TRY(impl_.store().database().query("SELECT id, manifest FROM images ORDER BY id")))
      out.push_back(
          {.id = std::string(store::as_text(row[0])), .manifest = std::string(store::as_text(row[1])), .names = {}});
    return out;
  }

  Result<> go_on() const {
    if (options_.stop.stop_requested()) return fail(ErrorKind::cancelled, "the check was cancelled");
    return {};
  }

  void tell(const std::string& digest, std::string_view status) const {
    if (options_.progress) options_.progress({short_id(digest), std::string(status)});
  }

  static std::vector<std::string> shown_names(const Record& record) {
    std::vector<std::string> out;
    for (const std::string& name : record.names)
      if (!is_digest_name(name)) out.push_back(familiar_of(name));
    if (out.empty()) out.push_back(record.id);
    return out;
  }

  // A blob that was looked at before is a damage that further images share.
  bool seen(const std::string& digest, const Record& record) {
    const auto known = found_.find(digest);
    if (known == found_.end()) return false;
    if (known->second)
      for (std::string& name : shown_names(record)) report_.damages[*known->second].images.push_back(std::move(name));
    return true;
  }

  Damage& add_damage(DamagedThing thing, const std::string& digest, const Record& record, const Error& why) {
    found_[digest] = report_.damages.size();
    tell(digest, "Damaged");
    return report_.damages.emplace_back(
        Damage{.thing = thing, .digest = digest, .images = shown_names(record), .why = why.text()});
  }

  // True: it is sound, or is so again.
  Result<bool> blob(DamagedThing thing, const oci::Descriptor& descriptor, const Record& record) {
    CHECK(go_on());
    const std::string& digest = descriptor.digest;
    if (seen(digest, record)) return !found_[digest] || report_.damages[*found_[digest]].repaired;
    const oci::Digest parsed = TRY(oci::Digest::parse(digest));
    tell(digest, "Checking");
    const auto sound = verify(parsed);
    CHECK(go_on());
    ++report_.blobs;
    if (sound) {
      found_[digest] = std::nullopt;
      tell(digest, "Sound");
      return true;
    }
    Damage& damage = add_damage(thing, digest, record, sound.error());
    if (!options_.repair) return false;
    auto done = fetch_again(impl_.store(), record.names, descriptor, thing == DamagedThing::manifest, options_);
    damage.repaired = done.has_value();
    if (!done) damage.not_repaired = done.error().text();
    tell(digest, done ? "Repaired" : "Not repaired");
    return damage.repaired;
  }

  Result<> verify(const oci::Digest& digest) {
    if (!content().has(digest)) return fail(ErrorKind::not_found, "it is not there");
    report_.bytes += TRY(content().info(digest)).size;
    return content().verify(digest, options_.stop);
  }

  // Manifest and config; an image that was left out because of them is there again after a repair.
  Result<> documents(const Record& record) {
    bool sound = TRY(blob(DamagedThing::manifest, {.digest = record.manifest}, record));
    if (sound) {
      const oci::Manifest manifest = TRY(manifest_of(record));
      sound = TRY(blob(DamagedThing::config, manifest.config, record));
    }
    if (sound && !impl_.catalog()->images.contains(record.id)) CHECK(impl_.revive(record.id));
    return {};
  }

  Result<oci::Manifest> manifest_of(const Record& record) const {
    const oci::Digest digest = TRY(oci::Digest::parse(record.manifest));
    const std::string text = TRY(content().read(digest, max_document));
    return oci::parse_manifest(text);
  }

  Result<> layers(const Record& record) {
    const CatalogPtr catalog = impl_.catalog();
    const auto image = catalog->images.find(record.id);
    if (image == catalog->images.end()) return {};  // removed meanwhile, or its documents are damaged
    const auto& chains = image->second->chains;
    for (std::size_t i = 0; i < chains.size(); ++i) {
      pins_.add(image->second->manifest.layers[i].digest);
      pins_.add(chains[i]);
    }
    // Pinned now; but somebody may have removed the image just before.
    if (!impl_.catalog()->images.contains(record.id)) return {};
    std::string parent;
    for (std::size_t i = 0; i < chains.size(); ++i) {
      const oci::Descriptor& descriptor = image->second->manifest.layers[i];
      const bool sound = TRY(blob(DamagedThing::layer_blob, descriptor, record));
      CHECK(layer({chains[i], parent, image->second->config.rootfs.diff_ids[i]}, descriptor, sound, record));
      parent = chains[i];
    }
    return {};
  }

  struct Layer {
    std::string chain, parent, diff_id;
  };

  Result<> layer(const Layer& wanted, const oci::Descriptor& descriptor, bool blob_is_sound, const Record& record) {
    const std::string& chain = wanted.chain;
    CHECK(go_on());
    if (seen(chain, record)) return {};
    if (!blob_is_sound) return unprovable(chain, record);
    tell(chain, "Comparing layer");
    ++report_.layers;
    auto same = compare(wanted, descriptor);
    CHECK(go_on());
    if (same && *same) {
      found_[chain] = std::nullopt;
      tell(chain, "Sound");
      return {};
    }
    // No room to make it again tells nothing of the layer, and neither does what the kernel cannot do.
    if (!same && (same.error().kind() == ErrorKind::exhausted || same.error().kind() == ErrorKind::unavailable))
      return std::unexpected(std::move(same).error().wrap("make layer " + chain + " again to compare it"));
    const Error why = same ? Error(ErrorKind::internal, "its files are not what its blob says") : same.error();
    Damage& damage = add_damage(DamagedThing::layer, chain, record, why);
    if (!options_.repair) return {};
    // compare() has put the new one into the old one's place, unless it failed.
    damage.repaired = same.has_value();
    if (!same) damage.not_repaired = same.error().text();
    tell(chain, damage.repaired ? "Repaired" : "Not repaired");
    return {};
  }

  // Without its blob, a layer can only be there or not.
  Result<> unprovable(const std::string& chain, const Record& record) {
    if (impl_.store().snapshots().has_layer(chain)) return {};
    Damage& damage = add_damage(DamagedThing::layer, chain, record, Error(ErrorKind::not_found, "it is not there"));
    if (options_.repair) damage.not_repaired = "its blob is damaged";
    return {};
  }

  // The layer is other images', too, so its blob must be what their configs say as well.
  Result<bool> compare(const Layer& wanted, const oci::Descriptor& descriptor) {
    store::Snapshots& snapshots = impl_.store().snapshots();
    const oci::Digest digest = TRY(oci::Digest::parse(descriptor.digest));
    store::FdSource blob(TRY(content().reader(digest)));
    WhileWanted source(blob, [this] { return !options_.stop.stop_requested(); });
    if (!snapshots.has_layer(wanted.chain)) {
      if (options_.repair) CHECK(unpack_layer(impl_.store(), source, wanted.parent, wanted.diff_id, wanted.chain));
      return false;
    }
    const auto tar = TRY(store::decompress(source));
    VerifiedTar verified(*tar, wanted.diff_id);
    return snapshots.check_layer(wanted.chain, verified, options_.repair);
  }

  Images::Impl& impl_;
  const CheckOptions& options_;
  Images::Impl::Pins pins_;
  std::vector<Record> records_;
  // What was looked at: nothing, or the place of its damage.
  std::map<std::string, std::optional<std::size_t>> found_;
  CheckReport report_;
};

}  // namespace

std::string_view name_of(DamagedThing thing) {
  switch (thing) {
    case DamagedThing::manifest: return "manifest";
    case DamagedThing::config: return "config";
    case DamagedThing::layer_blob: return "layer blob";
    case DamagedThing::layer: return "layer";
  }
  return "";
}

Result<> Images::Impl::revive(const std::string& id) {
  const auto rows = TRY(store_.database().query("SELECT manifest, parent, tagged FROM images WHERE id = ?", {id}));
  if (rows.empty()) return {};
  const oci::Digest manifest = TRY(oci::Digest::parse(store::as_text(rows[0][0]))),
                    config = TRY(oci::Digest::parse(id));
  auto image = TRY(read_image(manifest, config));
  image->parent = store::as_text(rows[0][1]);
  image->tagged = Timestamp(std::chrono::nanoseconds(store::as_int(rows[0][2])));
  const MutexLock lock(write_mutex_);
  auto next = std::make_shared<Catalog>(*catalog());
  if (!next->images.emplace(id, std::move(image)).second) return {};
  for (const store::SqlRow& row : TRY(store_.database().query("SELECT name FROM tags WHERE image = ?", {id})))
    next->tags.emplace(store::as_text(row[0]), id);
  replace(std::move(next));
  return {};
}

Result<CheckReport> check(Images& images, const CheckOptions& options) { return Checker(*images.impl_, options).run(); }

}  // namespace corten::image
