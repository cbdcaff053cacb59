#include "image/layer_unpack.h"

#include "image/read_ahead.h"
#include "oci/digest.h"
#include "store/archive.h"

namespace corten::image {

Result<std::unique_ptr<store::StagedLayer>> stage_blob(store::Store& store, store::ByteSource& blob,
                                                       const LayerToMake& layer, std::stop_source interrupt) {
  const auto plain = TRY(store::decompress(blob));
  oci::Hasher hasher;
  std::unique_ptr<store::StagedLayer> staged;
  {
    ReadAhead ahead(
        *plain, [&](std::span<const std::byte> bytes) { hasher.update(bytes); }, [&] { interrupt.request_stop(); });
    staged = TRY(store.snapshots().stage_layer(
        layer.parent, ahead, {.chain_id = [&](const std::string&) { return Result<std::string>(layer.chain); }}));
    CHECK(store::drain(ahead));
  }
  if (const std::string got = hasher.finish().text(); got != layer.diff_id)
    return fail(ErrorKind::invalid, "wrong diff id: its content is {}, the config says {}", got, layer.diff_id);
  return staged;
}

Result<> unpack_layer(store::Store& store, UniqueFd blob, const std::string& parent, const std::string& diff_id,
                      const std::string& chain) {
  store::FdSource source(std::move(blob));
  LayerToMake layer{.parent = [&] { return Result<std::string>(parent); }, .diff_id = diff_id, .chain = chain};
  const auto staged = TRY(stage_blob(store, source, layer, {}));
  CHECK(staged->commit(chain));
  return {};
}

}  // namespace corten::image
