#include "server/build_archive.h"

#include <algorithm>
#include <set>

#include "oci/reference.h"
#include "server/build_options.h"
#include "store/archive.h"
#include "store/tar.h"

namespace corten::server {
namespace {

using json::Array;
using json::Object;

std::string blob_path(std::string_view digest) {
  return "blobs/sha256/" + std::string(digest.substr(digest.find(':') + 1));
}

struct Named {
  const build::Built::One& image;
  ImageDocuments documents;
};

class ImageArchive {
 public:
  ImageArchive(const store::ContentStore& content, store::ByteSink& sink) : content_(content), tar_(sink) {}

  // As Images::save: names first, layers from the bottom up.
  Result<> run(const std::vector<Named>& images, const std::vector<std::string>& names) {
    CHECK(text("oci-layout", R"({"imageLayoutVersion":"1.0.0"})"));
    // Several platforms: one name for all of them, which takes an index of its own.
    std::string index = index_of(images, images.size() == 1 ? names : std::vector<std::string>());
    if (images.size() == 1) {
      CHECK(text("index.json", index));
      CHECK(text("manifest.json", manifest_of(images.front(), names)));
    } else {
      CHECK(text("index.json", outer_index(index, names)));
    }
    CHECK(directory("blobs/"));
    CHECK(directory("blobs/sha256/"));
    if (images.size() != 1) CHECK(small_blob(oci::Digest::of(index), index));
    for (const Named& named : images) {
      CHECK(small_blob(named.documents.manifest_digest, named.documents.manifest));
      CHECK(small_blob(named.documents.config_digest, named.documents.config));
    }
    for (const Named& named : images)
      for (const image::Layer& layer : named.image.layers)
        CHECK_AS(layer_blob(layer.blob.digest), "pack " + layer.blob.digest);
    return tar_.finish();
  }

 private:
  Result<> directory(const std::string& name) {
    return tar_.header({.type = store::TarType::directory, .name = name, .mode = 0755});
  }
  Result<> text(const std::string& name, const std::string& bytes) {
    return tar_.file({.type = store::TarType::file, .name = name, .mode = 0644}, bytes);
  }
  Result<> small_blob(const oci::Digest& digest, const std::string& bytes) {
    if (!written_.insert(digest.text()).second) return {};
    return text(blob_path(digest.text()), bytes);
  }
  Result<> layer_blob(const std::string& name) {
    if (!written_.insert(name).second) return {};
    const oci::Digest digest = TRY(oci::Digest::parse(name));
    const store::BlobInfo info = TRY(content_.info(digest));
    CHECK(tar_.header({.type = store::TarType::file, .name = blob_path(name), .mode = 0644, .size = info.size}));
    const UniqueFd file = TRY(content_.reader(digest));
    return tar_.data_of_file(file.get(), 0, info.size);
  }

  static void add_named(oci::Index& index, const oci::Descriptor& entry, const std::vector<std::string>& names) {
    if (names.empty()) index.manifests.push_back(entry);
    for (const std::string& name : names) {
      oci::Descriptor named = entry;
      named.annotations["io.containerd.image.name"] = name;
      named.annotations["org.opencontainers.image.ref.name"] = name.substr(name.rfind(':') + 1);
      index.manifests.push_back(std::move(named));
    }
  }
  static std::string index_of(const std::vector<Named>& images, const std::vector<std::string>& names) {
    oci::Index index;
    index.media_type = oci::media_type::oci_index;
    for (const Named& named : images) {
      oci::Descriptor entry;
      entry.media_type = oci::media_type::oci_manifest;
      entry.digest = named.documents.manifest_digest.text();
      entry.size = static_cast<std::int64_t>(named.documents.manifest.size());
      entry.platform = named.image.config.platform;
      add_named(index, entry, names);
    }
    return json::to_text(index);
  }
  static std::string outer_index(const std::string& inner, const std::vector<std::string>& names) {
    oci::Index index;
    index.media_type = oci::media_type::oci_index;
    oci::Descriptor entry;
    entry.media_type = oci::media_type::oci_index;
    entry.digest = oci::Digest::of(inner).text();
    entry.size = static_cast<std::int64_t>(inner.size());
    add_named(index, entry, names);
    return json::to_text(index);
  }
  // Docker's own list.
  static std::string manifest_of(const Named& named, const std::vector<std::string>& names) {
    Array tags, layers;
    for (const std::string& name : names)
      if (const auto reference = oci::parse_reference(name)) tags.emplace_back(reference->familiar());
    for (const image::Layer& layer : named.image.layers) layers.emplace_back(blob_path(layer.blob.digest));
    return json::write(Array{Object{{"Config", blob_path(named.documents.config_digest.text())},
                                    {"RepoTags", std::move(tags)},
                                    {"Layers", std::move(layers)}}});
  }

  const store::ContentStore& content_;
  store::TarWriter tar_;
  std::set<std::string> written_;
};

// Passes a tar on without its end marker, so that another can follow.
class WithoutEnd : public store::ByteSink {
 public:
  explicit WithoutEnd(store::ByteSink& out) : out_(out) {}
  Result<> write(std::span<const std::byte> bytes) override {
    held_.insert(held_.end(), bytes.begin(), bytes.end());
    if (held_.size() <= end_size) return {};
    const std::size_t ready = held_.size() - end_size;
    CHECK(out_.write(std::span(held_).first(ready)));
    held_.erase(held_.begin(), held_.begin() + static_cast<std::ptrdiff_t>(ready));
    return {};
  }
  Result<> write_file(int fd, std::uint64_t offset, std::uint64_t count) override {
    if (count < end_size) return store::ByteSink::write_file(fd, offset, count);
    // What is held is no end: more follows.
    CHECK(out_.write(held_));
    held_.clear();
    return out_.write_file(fd, offset, count);
  }

 private:
  static constexpr std::size_t end_size = 2 * store::tar_block;
  store::ByteSink& out_;
  std::vector<std::byte> held_;
};

std::string folder_of(const oci::Platform& platform) {
  std::string name = platform.text();
  std::ranges::replace(name, '/', '_');
  return name;
}

}  // namespace

ImageDocuments documents_of(const build::Built::One& image) {
  ImageDocuments out;
  out.config = json::to_text(image.config);
  out.config_digest = oci::Digest::of(out.config);
  oci::Manifest manifest;
  manifest.media_type = oci::media_type::oci_manifest;
  manifest.config.media_type = oci::media_type::oci_config;
  manifest.config.digest = out.config_digest.text();
  manifest.config.size = static_cast<std::int64_t>(out.config.size());
  for (const image::Layer& layer : image.layers) manifest.layers.push_back(layer.blob);
  out.manifest = json::to_text(manifest);
  out.manifest_digest = oci::Digest::of(out.manifest);
  return out;
}

std::uint64_t size_of(const build::Built::One& image) {
  std::uint64_t size = 0;
  for (const image::Layer& layer : image.layers) size += layer.bytes;
  return size;
}

Result<> write_images(store::Store& store, const BuildProduct& product, const spec::BuildOutput& output,
                      store::ByteSink& tar) {
  std::vector<std::string> names = product.names;
  if (const auto given = output.attributes.find("name"); given != output.attributes.end())
    names = TRY(tag_names({given->second}));
  std::vector<Named> images;
  for (const build::Built::One& image : product.built.images) images.push_back({image, documents_of(image)});
  return ImageArchive(store.content(), tar).run(images, names);
}

Result<> write_files(store::Store& store, const BuildProduct& product, store::ByteSink& tar) {
  const bool several = product.built.images.size() > 1;
  store::TarWriter end(tar);
  for (const build::Built::One& image : product.built.images) {
    if (image.chain_id.empty()) continue;
    const UniqueFd root = TRY(store.snapshots().mount_layer(image.chain_id));
    store::PackOptions options;
    options.rename = several ? folder_of(image.platform) : "";
    WithoutEnd open(tar);
    CHECK(store::pack(root.get(), ".", open, options));
  }
  return end.finish();
}

Result<> check_output(const spec::BuildOutput& output, std::size_t platforms) {
  static const std::set<std::string, std::less<>> types{"image", "docker", "oci", "tar", "local"};
  if (!types.contains(output.type))
    return fail(ErrorKind::invalid, "unknown output type {:?}: there are docker, image, local, oci and tar",
                output.type);
  if (output.type == "docker" && platforms > 1)
    return fail(ErrorKind::invalid, "an archive of type docker is for one platform: use type=oci for several");
  const auto push = output.attributes.find("push");
  if (output.type == "image" && push != output.attributes.end() && push->second == "true" && platforms > 1)
    return fail(ErrorKind::not_implemented,
                "an image for several platforms cannot be pushed in one go: push one for each, and join them with "
                "`corten manifest`");
  return {};
}

}  // namespace corten::server
