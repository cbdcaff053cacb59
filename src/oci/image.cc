#include "oci/image.h"

namespace corten::oci {
namespace {

constexpr std::size_t max_document = 8U << 20;
constexpr std::size_t max_manifests = 10'000;

Result<> check_size(std::string_view text, std::string_view what) {
  if (text.size() > max_document) return fail(ErrorKind::invalid, "{} is larger than {} bytes", what, max_document);
  return {};
}

Result<> check_descriptor(const Descriptor& descriptor, std::string_view what) {
  if (auto digest = Digest::parse(descriptor.digest); !digest)
    return fail(ErrorKind::invalid, "{} has digest {:?}: {}", what, descriptor.digest.substr(0, 100),
                digest.error().text());
  if (descriptor.size < 0) return fail(ErrorKind::invalid, "{} has negative size {}", what, descriptor.size);
  return {};
}

}  // namespace

bool is_index_type(std::string_view type) { return type == media_type::oci_index || type == media_type::docker_list; }
bool is_manifest_type(std::string_view type) {
  return type == media_type::oci_manifest || type == media_type::docker_manifest;
}
bool is_layer_type(std::string_view type) {
  return type == media_type::oci_layer || type == media_type::oci_layer_gzip || type == media_type::oci_layer_zstd ||
         type == media_type::docker_layer || type == media_type::docker_layer_gzip;
}

Result<ImageConfig> parse_image_config(std::string_view text) {
  CHECK(check_size(text, "image config"));
  auto config = TRY_AS(json::from_text<ImageConfig>(text), "image config");
  if (config.rootfs.diff_ids.size() > max_layers)
    return fail(ErrorKind::invalid, "max depth exceeded: the image config lists {} layers, at most {} can be stacked",
                config.rootfs.diff_ids.size(), max_layers);
  for (const std::string& id : config.rootfs.diff_ids)
    if (!Digest::parse(id))
      return fail(ErrorKind::invalid, "image config has an invalid diff id {:?}", id.substr(0, 100));
  if (!config.rootfs.type.empty() && config.rootfs.type != "layers")
    return fail(ErrorKind::invalid, "image config has root file system type {:?}, only layers are known",
                config.rootfs.type.substr(0, 100));
  return config;
}

Result<Manifest> parse_manifest(std::string_view text) {
  CHECK(check_size(text, "image manifest"));
  const json::Value document = TRY_AS(json::parse(text), "image manifest");
  // One document, two readings (CVE-2021-41190): a manifest must not also be an index.
  if (document.is_object() && document.get_object().contains("manifests"))
    return fail(ErrorKind::invalid, "image manifest also has a list of manifests");
  auto manifest = TRY_AS(json::from_json<Manifest>(document), "image manifest");
  if (manifest.schema_version != 2)
    return fail(ErrorKind::invalid, "image manifest has schema version {}, only 2 is known", manifest.schema_version);
  if (!manifest.media_type.empty() && !is_manifest_type(manifest.media_type))
    return fail(ErrorKind::invalid, "image manifest has media type {:?}", manifest.media_type.substr(0, 100));
  if (manifest.layers.size() > max_layers)
    return fail(ErrorKind::invalid, "max depth exceeded: the image manifest lists {} layers, at most {} can be stacked",
                manifest.layers.size(), max_layers);
  CHECK(check_descriptor(manifest.config, "image manifest's config"));
  for (const Descriptor& layer : manifest.layers) CHECK(check_descriptor(layer, "image manifest's layer"));
  return manifest;
}

Result<Index> parse_index(std::string_view text) {
  CHECK(check_size(text, "image index"));
  const json::Value document = TRY_AS(json::parse(text), "image index");
  if (document.is_object() && (document.get_object().contains("layers") || document.get_object().contains("config")))
    return fail(ErrorKind::invalid, "image index also has a manifest's fields");
  auto index = TRY_AS(json::from_json<Index>(document), "image index");
  if (index.schema_version != 2)
    return fail(ErrorKind::invalid, "image index has schema version {}, only 2 is known", index.schema_version);
  if (index.manifests.size() > max_manifests)
    return fail(ErrorKind::invalid, "image index lists {} manifests, at most {} are read", index.manifests.size(),
                max_manifests);
  for (const Descriptor& manifest : index.manifests) CHECK(check_descriptor(manifest, "image index's manifest"));
  return index;
}

std::vector<std::string> chain_ids(const std::vector<std::string>& diff_ids) {
  std::vector<std::string> out;
  out.reserve(diff_ids.size());
  for (const std::string& id : diff_ids) out.push_back(chain_id(out.empty() ? "" : out.back(), id));
  return out;
}

}  // namespace corten::oci
