#include "image/layer_unpack.h"

#include "image/read_ahead.h"
#include "store/archive.h"

namespace corten::image {
namespace {

Result<> expect(const std::string& got, const std::string& diff_id) {
  if (got == diff_id) return {};
  return fail(ErrorKind::invalid, "wrong diff id: its content is {}, the config says {}", got, diff_id);
}

}  // namespace

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
  CHECK(expect(hasher.finish().text(), layer.diff_id));
  return staged;
}

Result<std::size_t> VerifiedTar::read(std::span<std::byte> buffer) {
  if (buffer.empty()) return std::size_t{0};
  const std::size_t got = TRY(tar_.read(buffer));
  if (got > 0) {
    hasher_.update(buffer.first(got));
    return got;
  }
  if (got_.empty()) got_ = hasher_.finish().text();
  CHECK(expect(got_, diff_id_));
  return std::size_t{0};
}

Result<> check_diff_id(store::ByteSource& blob, const std::string& diff_id) {
  const auto plain = TRY(store::decompress(blob));
  VerifiedTar tar(*plain, diff_id);
  CHECK(store::drain(tar));
  return {};
}

Result<> unpack_layer(store::Store& store, store::ByteSource& blob, const std::string& parent,
                      const std::string& diff_id, const std::string& chain) {
  LayerToMake layer{.parent = [&] { return Result<std::string>(parent); }, .diff_id = diff_id, .chain = chain};
  const auto staged = TRY(stage_blob(store, blob, layer, {}));
  CHECK(staged->commit(chain));
  return {};
}

}  // namespace corten::image
