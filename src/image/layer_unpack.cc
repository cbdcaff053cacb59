#include "image/layer_unpack.h"

#include "oci/digest.h"
#include "store/archive.h"
#include "store/channel.h"

namespace corten::image {

Result<> unpack_layer(store::Store& store, UniqueFd blob, const std::string& parent, const std::string& diff_id,
                      const std::string& chain) {
  store::FdSource source(std::move(blob));
  const auto plain = TRY(store::decompress(source));
  oci::Hasher hasher;
  // Hashed on a thread of its own, which costs as much as unpacking.
  store::WriteBehind behind([&](store::ByteSource& bytes) -> Result<> {
    std::vector<std::byte> buffer(256U << 10);
    while (const std::size_t got = TRY(bytes.read(buffer))) hasher.update(std::span(buffer).first(got));
    return {};
  });
  store::TeeSource tee(*plain, behind);
  const auto staged = TRY(store.snapshots().stage_layer(
      parent, tee, {.chain_id = [&](const std::string&) { return Result<std::string>(chain); }}));
  CHECK(store::drain(tee));
  CHECK(behind.finish());
  if (const std::string got = hasher.finish().text(); got != diff_id)
    return fail(ErrorKind::invalid, "wrong diff id: its content is {}, the config says {}", got, diff_id);
  CHECK(staged->commit(chain));
  return {};
}

}  // namespace corten::image
