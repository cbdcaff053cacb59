#include "image/load.h"

#include <algorithm>
#include <set>

#include "image/layer_unpack.h"
#include "oci/platform.h"
#include "store/failpoint.h"

namespace corten::image {
namespace {

constexpr std::size_t max_images = 1000;
constexpr int max_index_depth = 4;

constexpr const char* containerd_name = "io.containerd.image.name";
constexpr const char* ref_name = "org.opencontainers.image.ref.name";
constexpr const char* docker_reference_type = "vnd.docker.reference.type";

std::string annotation(const oci::Descriptor& descriptor, const char* key) {
  const auto found = descriptor.annotations.find(key);
  return found == descriptor.annotations.end() ? std::string() : found->second;
}

// The name an OCI layout's entry carries, if it is one: a bare tag ("latest") names nothing.
std::vector<std::string> names_of(const oci::Descriptor& descriptor) {
  std::string text = annotation(descriptor, containerd_name);
  if (text.empty()) {
    text = annotation(descriptor, ref_name);
    if (text.find_first_of(":/") == std::string::npos) return {};
  }
  const auto parsed = oci::parse_reference(text);
  if (!parsed || !parsed->digest.empty()) return {};
  return {parsed->with_default_tag().full()};
}

// An OCI layout, walked through its indexes to the image for one platform.
class LayoutReader {
 public:
  LayoutReader(ArchiveFiles& files, const oci::Platform& wanted) : files_(files), wanted_(wanted) {}

  // All manifests that could be meant, in order, with the names on the way.
  Result<> index(const std::string& text, const std::vector<std::string>& names, int depth) {
    if (depth > max_index_depth)
      return fail(ErrorKind::invalid, "image indexes are nested deeper than {}", max_index_depth);
    const oci::Index index = TRY(oci::parse_index(text));
    std::vector<const oci::Descriptor*> meant;
    if (depth == 0) {
      for (const oci::Descriptor& entry : index.manifests)
        if (annotation(entry, docker_reference_type).empty()) meant.push_back(&entry);  // no attestations
    } else if (const oci::Descriptor* nearest = oci::best_entry(index.manifests, wanted_)) {
      // Below the top an index is one image for several machines.
      meant.push_back(nearest);
    }
    for (const oci::Descriptor* entry : meant) {
      std::vector<std::string> all = names;
      for (std::string& name : names_of(*entry)) all.push_back(std::move(name));
      CHECK(descriptor(*entry, all, depth));
    }
    return {};
  }

  std::vector<ArchiveImage> images;

 private:
  Result<> descriptor(const oci::Descriptor& entry, const std::vector<std::string>& names, int depth) {
    const oci::Digest digest = TRY(oci::Digest::parse(entry.digest));
    if (!files_.has_blob(digest)) {
      // `docker save` of one platform leaves the others' manifests out.
      if (depth > 0) return {};
      return fail(ErrorKind::invalid, "image archive has no blob {}", digest.text());
    }
    if (files_.size(digest) != static_cast<std::uint64_t>(entry.size))
      return fail(ErrorKind::invalid, "blob {} has {} bytes, its descriptor says {}", digest.text(),
                  files_.size(digest), entry.size);
    const std::string text = TRY(files_.text(digest));
    if (oci::is_index_type(entry.media_type)) return index(text, names, depth + 1);
    if (!oci::is_manifest_type(entry.media_type))
      return fail(ErrorKind::invalid, "image index has an entry of media type {:?}", entry.media_type.substr(0, 100));
    const oci::Manifest manifest = TRY(oci::parse_manifest(text));
    ArchiveImage image;
    image.manifest = digest;
    image.names = names;
    image.config = TRY(oci::Digest::parse(manifest.config.digest));
    for (const oci::Descriptor& layer : manifest.layers) {
      const oci::Digest blob = TRY(oci::Digest::parse(layer.digest));
      if (files_.has_blob(blob) && files_.size(blob) != static_cast<std::uint64_t>(layer.size))
        return fail(ErrorKind::invalid, "layer {} has {} bytes, its descriptor says {}", blob.text(), files_.size(blob),
                    layer.size);
      image.layers.push_back(blob);
    }
    images.push_back(std::move(image));
    if (images.size() > max_images)
      return fail(ErrorKind::invalid, "image archive has more than {} images", max_images);
    return {};
  }

  ArchiveFiles& files_;
  const oci::Platform& wanted_;
};

Result<std::vector<ArchiveImage>> images_of_layout(ArchiveFiles& files, const oci::Platform& wanted) {
  const oci::Digest digest = TRY(files.digest("index.json"));
  const std::string text = TRY(files.text(digest));
  LayoutReader reader(files, wanted);
  CHECK(reader.index(text, {}, 0));
  return std::move(reader.images);
}

Result<ArchiveImage> image_of(ArchiveFiles& files, const ArchiveManifest& entry) {
  ArchiveImage image;
  image.config = TRY(files.digest(entry.config));
  for (const std::string& layer : entry.layers) image.layers.push_back(TRY(files.digest(layer)));
  for (const std::string& tag : entry.repo_tags) {
    const oci::Reference parsed =
        TRY_AS(oci::parse_reference(tag), fmt::format("invalid tag {:?}", tag.substr(0, 300)));
    if (parsed.tag.empty() || !parsed.digest.empty())
      return fail(ErrorKind::invalid, "invalid tag {:?}", tag.substr(0, 300));
    image.names.push_back(parsed.full());
  }
  return image;
}

Result<std::vector<ArchiveImage>> images_of_manifest(ArchiveFiles& files, const oci::Platform& wanted) {
  const oci::Digest digest = TRY(files.digest("manifest.json"));
  const std::string text = TRY(files.text(digest));
  const auto entries = TRY_AS(json::from_text<std::vector<ArchiveManifest>>(text), "manifest.json");
  if (entries.size() > max_images) return fail(ErrorKind::invalid, "image archive has more than {} images", max_images);
  std::vector<ArchiveImage> out;
  for (const ArchiveManifest& entry : entries) out.push_back(TRY(image_of(files, entry)));
  // An archive that is both layouts has the images' own manifests, too: with them, digests stay what they were.
  if (!files.has("index.json") || !files.has("oci-layout")) return out;
  const auto layout = TRY(images_of_layout(files, wanted));
  for (ArchiveImage& image : out)
    for (const ArchiveImage& other : layout)
      if (other.config == image.config && other.layers == image.layers) image.manifest = other.manifest;
  // Not so a manifest that was made for the archive and names the layers' tars: its digest stands for nothing, and the
  // tars would be kept beside the file systems made of them.
  for (std::size_t i = 0; i < out.size(); ++i) {
    const auto is_tar = [&](const oci::Digest& layer) { return files.packed(layer) != nullptr; };
    if (!entries[i].layer_sources.empty() && std::ranges::any_of(out[i].layers, is_tar)) out[i].manifest.reset();
  }
  return out;
}

// Unpacks what is not there yet and makes the blobs visible, one image.
class ImageLoader {
 public:
  ImageLoader(Images::Impl& impl, ArchiveFiles& files, const ArchiveImage& image)
      : impl_(impl), files_(files), image_(image), pins_(impl) {}

  // The image's id; none where it is not for `platform`.
  Result<std::optional<std::string>> run(const std::optional<oci::Platform>& platform) {
    const std::string text = TRY(files_.text(image_.config));
    const oci::ImageConfig config = TRY(oci::parse_image_config(text));
    if (config.rootfs.diff_ids.size() != image_.layers.size())
      return fail(ErrorKind::invalid, "invalid manifest, layers length mismatch: expected {}, got {}",
                  config.rootfs.diff_ids.size(), image_.layers.size());
    if (!config.platform.os.empty() && config.platform.os != "linux")
      return fail(ErrorKind::invalid, "cannot load {:?} image on linux", config.platform.os.substr(0, 100));
    if (platform && !oci::distance(*platform, config.platform)) return std::nullopt;
    pins_.add(image_.config.text());
    std::string chain;
    for (std::size_t i = 0; i < image_.layers.size(); ++i) {
      pins_.add(image_.layers[i].text());
      pins_.add(oci::chain_id(chain, config.rootfs.diff_ids[i]));
      CHECK_AS(layer(image_.layers[i], chain, config.rootfs.diff_ids[i]),
               fmt::format("layer {}", image_.layers[i].text()));
      chain = oci::chain_id(chain, config.rootfs.diff_ids[i]);
      store::failpoint("load-layer");
    }
    CHECK(files_.keep(image_.config));
    const oci::Digest manifest = TRY(manifest_of());
    // The names of all blobs, those that were here among them, before anybody hears of the image.
    CHECK(impl_.store().content().flush_names());
    store::failpoint("load-flushed");
    return TRY(impl_.publish({manifest, image_.config, "", image_.names}));
  }

 private:
  Result<> layer(const oci::Digest& file, const std::string& parent, const std::string& diff_id) {
    const std::string chain = oci::chain_id(parent, diff_id);
    CHECK(impl_.store().snapshots().has_layer(chain) ? check(file, diff_id, chain)
                                                     : unpack(file, parent, diff_id, chain));
    if (!image_.manifest) {
      layers_.push_back(TRY(blob_of(file, chain)));
      return {};
    }
    return impl_.store().content().has(file) ? Result<>() : files_.keep(file);
  }

  // The layer is here; its blob in this image's manifest must not be another one's.
  Result<> check(const oci::Digest& file, const std::string& diff_id, const std::string& chain) {
    if (const auto known = known_blob(chain); known && known->digest == file.text()) return {};
    const oci::Digest got = TRY(files_.diff_id(file));
    if (got.text() == diff_id) return {};
    return fail(ErrorKind::invalid, "wrong diff id: its content is {}, the config says {}", got.text(), diff_id);
  }

  Result<> unpack(const oci::Digest& file, const std::string& parent, const std::string& diff_id,
                  const std::string& chain) {
    auto staged = files_.stage(file, parent, diff_id);
    if (staged) {
      CHECK((*staged)->commit(chain));
      return {};
    }
    // Else it was not begun, or needed the layer below before that was known.
    if (staged.error().kind() != ErrorKind::unavailable) return std::unexpected(std::move(staged).error());
    const bool in_archive = files_.has_blob(file);
    store::FdSource blob(TRY(in_archive ? files_.open(file) : impl_.store().content().reader(file)));
    return unpack_layer(impl_.store(), blob, parent, diff_id, chain);
  }

  // The blob that our own manifest names for the layer.
  Result<oci::Descriptor> blob_of(const oci::Digest& file, const std::string& chain) {
    const store::BlobInfo* packed = files_.packed(file);
    if (packed == nullptr) {
      if (!impl_.store().content().has(file)) CHECK(files_.keep(file));
      const store::BlobInfo info = TRY(impl_.store().content().info(file));
      return descriptor(TRY(media_type(file)), info);
    }
    // One that is here for another image will do: the tar is the same.
    if (const auto known = known_blob(chain)) {
      pins_.add(known->digest);
      const oci::Digest digest = TRY(oci::Digest::parse(known->digest));
      if (impl_.store().content().has(digest)) return *known;
    }
    pins_.add(packed->digest.text());
    CHECK(files_.keep_packed(file));
    return descriptor(oci::media_type::oci_layer_gzip, *packed);
  }

  std::optional<oci::Descriptor> known_blob(const std::string& chain) const {
    const CatalogPtr catalog = impl_.catalog();
    for (const auto& [id, image] : catalog->images) {
      const auto found = std::ranges::find(image->chains, chain);
      if (found != image->chains.end())
        return image->manifest.layers[static_cast<std::size_t>(found - image->chains.begin())];
    }
    return std::nullopt;
  }

  static oci::Descriptor descriptor(std::string_view media_type, const store::BlobInfo& info) {
    return {.media_type = std::string(media_type),
            .digest = info.digest.text(),
            .size = static_cast<std::int64_t>(info.size)};
  }

  Result<oci::Digest> manifest_of() {
    if (image_.manifest) {
      pins_.add(image_.manifest->text());
      CHECK(files_.keep(*image_.manifest));
      return *image_.manifest;
    }
    oci::Manifest manifest;
    manifest.media_type = oci::media_type::oci_manifest;
    manifest.config = descriptor(oci::media_type::oci_config, TRY(impl_.store().content().info(image_.config)));
    manifest.layers = layers_;
    const std::string text = json::to_text(manifest);
    pins_.add(oci::Digest::of(text).text());
    return TRY(impl_.store().content().put(text, false)).digest;
  }

  Result<std::string_view> media_type(const oci::Digest& blob) {
    store::FdSource source(TRY(impl_.store().content().reader(blob)));
    std::array<std::byte, 10> head{};
    const std::size_t got = TRY(store::read_full(source, head));
    return layer_media_type(store::sniff_compression(std::span(head).first(got)));
  }

  Images::Impl& impl_;
  ArchiveFiles& files_;
  const ArchiveImage& image_;
  Images::Impl::Pins pins_;
  std::vector<oci::Descriptor> layers_;  // for a manifest of ours
};

}  // namespace

Result<std::vector<ArchiveImage>> images_of(ArchiveFiles& files, const oci::Platform& wanted) {
  if (files.has("manifest.json")) return images_of_manifest(files, wanted);
  if (files.has("index.json")) return images_of_layout(files, wanted);
  return fail(ErrorKind::invalid, "not an image archive: it has neither manifest.json nor index.json");
}

Result<std::vector<std::string>> Images::Impl::load(store::ByteSource& tar, const LoadOptions& options) {
  std::set<std::string> blobs;  // of layers that are here
  for (const CatalogPtr now = catalog(); const auto& [id, image] : now->images)
    for (const oci::Descriptor& layer : image->manifest.layers) blobs.insert(layer.digest);
  Pins pins(*this);
  ArchiveFiles files(store_, options, [&](const oci::Digest& blob) {
    if (!blobs.contains(blob.text())) return false;
    pins.add(blob.text());
    return store_.content().has(blob);
  });
  CHECK(files.read(tar));
  store::failpoint("load-read");
  std::vector<std::string> out;
  bool left_out = false;
  for (const ArchiveImage& image : TRY(images_of(files, options.platform.value_or(oci::best_host_platform())))) {
    const auto id = TRY(ImageLoader(*this, files, image).run(options.platform));
    left_out = left_out || !id;
    if (!id) continue;
    if (options.loaded) options.loaded(*id);
    std::vector<std::string> lines;
    for (const std::string& name : image.names) lines.push_back("Loaded image: " + familiar_of(name));
    if (lines.empty()) lines.push_back("Loaded image ID: " + *id);
    for (std::string& line : lines) {
      if (options.progress) options.progress(line);
      out.push_back(std::move(line));
    }
  }
  if (left_out && out.empty())
    return fail(ErrorKind::not_found, "the archive has no image for {}", options.platform->text());
  return out;
}

}  // namespace corten::image
