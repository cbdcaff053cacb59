// Images in one tar that is both a docker-archive and an OCI layout, the same bytes for the same images.
#include <algorithm>
#include <set>

#include "image/images_impl.h"
#include "image/load.h"
#include "oci/platform.h"
#include "store/tar.h"

namespace corten::image {
namespace {

struct Saved {
  ImagePtr image;
  std::vector<std::string> names;  // full, with tag
};

std::string blob_path(std::string_view digest) {
  return "blobs/sha256/" + std::string(digest.substr(digest.find(':') + 1));
}

class SaveWriter {
 public:
  SaveWriter(const store::ContentStore& content, store::ByteSink& sink) : content_(content), tar_(sink) {}

  // The names first and the layers from the bottom up, so that a reader knows at once what it gets.
  Result<> run(const std::vector<Saved>& images) {
    CHECK(text("oci-layout", R"({"imageLayoutVersion":"1.0.0"})"));
    CHECK(text("index.json", index_of(images)));
    CHECK(text("manifest.json", manifest_of(images)));
    if (const std::string repositories = repositories_of(images); !repositories.empty())
      CHECK(text("repositories", repositories));
    CHECK(directory("blobs/"));
    CHECK(directory("blobs/sha256/"));
    for (const Saved& saved : images) {
      CHECK(blob(saved.image->manifest_digest));
      CHECK(blob(saved.image->id));
    }
    for (const Saved& saved : images)
      for (const oci::Descriptor& layer : saved.image->manifest.layers) CHECK(blob(layer.digest));
    return tar_.finish();
  }

 private:
  Result<> directory(const std::string& name) {
    return tar_.header({.type = store::TarType::directory, .name = name, .mode = 0755});
  }
  Result<> text(const std::string& name, const std::string& bytes) {
    return tar_.file({.type = store::TarType::file, .name = name, .mode = 0644}, bytes);
  }

  Result<> blob(const std::string& name) {
    if (!written_.insert(name).second) return {};
    return wrap(write_blob(name), "save " + name);
  }
  Result<> write_blob(const std::string& name) {
    const oci::Digest digest = TRY(oci::Digest::parse(name));
    const store::BlobInfo info = TRY(content_.info(digest));
    CHECK(tar_.header({.type = store::TarType::file, .name = blob_path(name), .mode = 0644, .size = info.size}));
    const UniqueFd file = TRY(content_.reader(digest));
    return tar_.data_of_file(file.get(), 0, info.size);
  }

  std::string index_of(const std::vector<Saved>& images) const {
    oci::Index index;
    index.media_type = oci::media_type::oci_index;
    for (const Saved& saved : images) {
      oci::Descriptor entry;
      entry.media_type =
          saved.image->manifest.media_type.empty() ? oci::media_type::oci_manifest : saved.image->manifest.media_type;
      entry.digest = saved.image->manifest_digest;
      if (const auto digest = oci::Digest::parse(entry.digest))
        if (const auto info = content_.info(*digest)) entry.size = static_cast<std::int64_t>(info->size);
      entry.platform = saved.image->config.platform;
      if (saved.names.empty()) index.manifests.push_back(entry);
      for (const std::string& name : saved.names) {
        oci::Descriptor named = entry;
        named.annotations["io.containerd.image.name"] = name;
        named.annotations["org.opencontainers.image.ref.name"] = name.substr(name.rfind(':') + 1);
        index.manifests.push_back(std::move(named));
      }
    }
    return json::to_text(index);
  }

  static std::string manifest_of(const std::vector<Saved>& images) {
    std::vector<ArchiveManifest> out;
    for (const Saved& saved : images) {
      ArchiveManifest& entry = out.emplace_back();
      entry.config = blob_path(saved.image->id);
      for (const std::string& name : saved.names) entry.repo_tags.push_back(familiar_of(name));
      for (const oci::Descriptor& layer : saved.image->manifest.layers) entry.layers.push_back(blob_path(layer.digest));
    }
    return json::to_text(out);
  }

  // What the oldest readers look at: name → tag → top layer.
  static std::string repositories_of(const std::vector<Saved>& images) {
    std::map<std::string, std::map<std::string, std::string>> out;
    for (const Saved& saved : images) {
      if (saved.image->manifest.layers.empty()) continue;
      const std::string top = saved.image->manifest.layers.back().digest.substr(7);
      for (const std::string& name : saved.names)
        if (const auto parsed = oci::parse_reference(name)) out[parsed->familiar_name()][parsed->tag] = top;
    }
    return out.empty() ? std::string() : json::to_text(out);
  }

  const store::ContentStore& content_;
  store::TarWriter tar_;
  std::set<std::string> written_;
};

// How long an archive is going to be.
class Measure : public store::ByteSink {
 public:
  Result<> write(std::span<const std::byte> bytes) override {
    size += bytes.size();
    return {};
  }
  Result<> write_file(int, std::uint64_t, std::uint64_t count) override {
    size += count;
    return {};
  }
  std::uint64_t size = 0;
};

// What a reference means to save: one tag, all tags of a repository, or an image without a name.
Result<> add_reference(const Catalog& catalog, const std::string& reference, std::vector<Saved>& images) {
  const ImagePtr image = TRY(catalog.find(reference));
  std::vector<std::pair<ImagePtr, std::string>> found;
  const auto parsed = oci::parse_reference(reference);
  if (parsed && parsed->name_only()) {
    for (const auto& [name, id] : catalog.tags)
      if (name.starts_with(parsed->name() + ":")) found.emplace_back(catalog.images.at(id), name);
  } else if (parsed && image != nullptr && catalog.tags.contains(parsed->full()) && parsed->digest.empty()) {
    found.emplace_back(image, parsed->full());
  }
  if (found.empty()) {
    if (image == nullptr) return no_such_image(reference);
    found.emplace_back(image, "");
  }
  for (const auto& [wanted, name] : found) {
    auto known =
        std::find_if(images.begin(), images.end(), [&](const Saved& saved) { return saved.image->id == wanted->id; });
    if (known == images.end()) known = images.insert(images.end(), Saved{wanted, {}});
    if (!name.empty() && std::find(known->names.begin(), known->names.end(), name) == known->names.end())
      known->names.push_back(name);
  }
  return {};
}

}  // namespace

Result<> Images::Impl::save(const std::vector<std::string>& references, store::ByteSink& tar,
                            const SaveOptions& options) {
  if (references.empty()) return fail(ErrorKind::invalid, "no images to save");
  Pins pins(*this);
  const CatalogPtr catalog = this->catalog();
  std::vector<Saved> images;
  for (const std::string& reference : references) {
    const std::size_t before = images.size();
    CHECK(add_reference(*catalog, reference, images));
    for (std::size_t i = before; options.platform && i < images.size(); ++i)
      if (!oci::distance(*options.platform, images[i].image->config.platform))
        return fail(ErrorKind::not_found,
                    "image with reference {} was found but does not provide the specified platform ({})", reference,
                    options.platform->text());
  }
  for (const Saved& saved : images) {
    pins.add(saved.image->id);
    pins.add(saved.image->manifest_digest);
    for (const oci::Descriptor& layer : saved.image->manifest.layers) pins.add(layer.digest);
    // Pinned now; but somebody may have removed the image just before.
    if (!this->catalog()->images.contains(saved.image->id)) return no_such_image(saved.image->id);
  }
  Measure measure;
  CHECK(SaveWriter(store_.content(), measure).run(images));
  if (options.begin) CHECK(options.begin(measure.size));
  return SaveWriter(store_.content(), tar).run(images);
}

}  // namespace corten::image
