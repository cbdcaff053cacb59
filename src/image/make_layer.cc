// import and commit: a tar that becomes a layer, and a config around it.
#include "image/images_impl.h"
#include "image/layer_intake.h"
#include "store/failpoint.h"

namespace corten::image {
namespace {

// sha256 of the empty tar (two zero blocks): Docker makes no layer of it.
constexpr std::string_view empty_diff = "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef";

oci::History history_of(const std::string& created, std::string created_by, std::string comment, std::string author) {
  oci::History out;
  out.created = created;
  out.created_by = std::move(created_by);
  out.comment = std::move(comment);
  out.author = std::move(author);
  return out;
}

}  // namespace

Result<std::optional<Layer>> make_layer(store::Store& store, Images::Impl::Pins& pins, const std::string& parent,
                                        const std::function<Result<>(LayerIntake&)>& fill) {
  const auto intake = TRY(LayerIntake::open(
      store, {.parent = [parent](bool) -> Result<std::string> { return parent; }, .need_end_marker = true}));
  CHECK(fill(*intake));
  CHECK(intake->finish());
  const auto staged = TRY(intake->staged());
  if (intake->diff_id().text() == empty_diff) return std::nullopt;
  Layer out = TRY(commit_blob(*intake, pins, parent));
  out.bytes = TRY(staged->commit(out.chain_id)).bytes;
  store::failpoint("layer-made");
  return out;
}

Result<Layer> commit_blob(LayerIntake& intake, Images::Impl::Pins& pins, const std::string& parent) {
  const store::BlobInfo& info = intake.blob_info();
  Layer out;
  out.diff_id = intake.diff_id().text();
  out.chain_id = oci::chain_id(parent, out.diff_id);
  out.blob = {.media_type = std::string(oci::media_type::oci_layer_gzip),
              .digest = info.digest.text(),
              .size = static_cast<std::int64_t>(info.size)};
  pins.add(out);
  CHECK(intake.blob()->commit(std::nullopt, std::nullopt, false));
  return out;
}

std::string_view layer_media_type(store::Compression compression) {
  switch (compression) {
    case store::Compression::gzip: return oci::media_type::oci_layer_gzip;
    case store::Compression::zstd: return oci::media_type::oci_layer_zstd;
    default: return oci::media_type::oci_layer;
  }
}

Result<std::vector<std::string>> names_of_option(const std::string& reference) {
  if (reference.empty()) return std::vector<std::string>{};
  const oci::Reference parsed = TRY(oci::parse_reference(reference));
  if (!parsed.digest.empty()) return fail(ErrorKind::invalid, "cannot import digest reference");
  CHECK(parsed.may_be_given());
  return std::vector<std::string>{parsed.with_default_tag().full()};
}

Result<std::string> publish_config(Images::Impl& impl, Images::Impl::Pins& pins, const oci::ImageConfig& config,
                                   std::vector<oci::Descriptor> layers, const std::string& parent,
                                   std::vector<std::string> names) {
  const std::string text = json::to_text(config);
  pins.add(oci::Digest::of(text).text());
  const store::BlobInfo blob = TRY(impl.store().content().put(text, false));
  oci::Manifest manifest;
  manifest.media_type = oci::media_type::oci_manifest;
  manifest.config = {.media_type = std::string(oci::media_type::oci_config),
                     .digest = blob.digest.text(),
                     .size = static_cast<std::int64_t>(blob.size)};
  manifest.layers = std::move(layers);
  const std::string manifest_text = json::to_text(manifest);
  pins.add(oci::Digest::of(manifest_text).text());
  const store::BlobInfo manifest_blob = TRY(impl.store().content().put(manifest_text, false));
  CHECK(impl.store().content().flush_names());
  return impl.publish({manifest_blob.digest, blob.digest, parent, std::move(names)});
}

Result<std::string> Images::Impl::import(store::ByteSource& tar, const ImportOptions& options) {
  std::vector<std::string> names = TRY(names_of_option(options.reference));
  Pins pins(*this);
  const auto plain = TRY(store::decompress(tar));
  // Nothing vouches for this archive, so it must have its end.
  const std::optional<Layer> layer =
      TRY_AS(make_layer(store_, pins, "", [&](LayerIntake& intake) { return intake.read(*plain); }), "import");
  oci::ImageConfig config;
  config.created = format_rfc3339(now());
  config.platform = options.platform.value_or(oci::host_platform());
  config.config = options.config;
  config.history.push_back(
      history_of(config.created, "", options.message.empty() ? "Imported from -" : options.message, ""));
  std::vector<oci::Descriptor> layers;
  config.history.back().empty_layer = !layer;
  if (layer) {
    config.rootfs.diff_ids.push_back(layer->diff_id);
    layers.push_back(layer->blob);
  }
  return publish_config(*this, pins, config, std::move(layers), "", std::move(names));
}

Result<std::string> Images::Impl::commit(const CommitOptions& options) {
  std::vector<std::string> names = TRY(names_of_option(options.reference));
  Pins pins(*this);
  oci::ImageConfig config;
  std::vector<oci::Descriptor> layers;
  std::string chain, parent;
  if (!options.base_image.empty()) {
    const ImagePtr base = TRY(resolve(options.base_image));
    for (const oci::Descriptor& layer : base->manifest.layers) {
      pins.add(layer.digest);
      // Pinned now; but somebody may have removed the image just before.
      const oci::Digest digest = TRY(oci::Digest::parse(layer.digest));
      if (!store_.content().has(digest)) return no_such_image(options.base_image);
    }
    for (const std::string& id : base->chains) pins.add(id);
    config = base->config;
    layers = base->manifest.layers;
    chain = base->chain_id;
    parent = base->id;
  }
  const auto layer = TRY_AS(
      make_layer(store_, pins, chain,
                 [&](LayerIntake& intake) { return store_.snapshots().write_diff(options.snapshot_key, intake); }),
      "commit");
  config.created = format_rfc3339(now());
  config.author = options.author;
  config.container = options.container_id;
  config.config = options.config;
  if (config.platform.os.empty()) config.platform = oci::host_platform();
  config.history.push_back(history_of(config.created, options.created_by, options.comment, options.author));
  config.history.back().empty_layer = !layer;
  if (layer) {
    config.rootfs.diff_ids.push_back(layer->diff_id);
    layers.push_back(layer->blob);
  }
  return publish_config(*this, pins, config, std::move(layers), parent, std::move(names));
}

}  // namespace corten::image
