// A layer's blob made into a layer of the snapshot store. Private to the module.
#pragma once

#include <memory>
#include <stop_token>
#include <string>

#include "oci/digest.h"
#include "store/store.h"

namespace corten::image {

struct LayerToMake {
  store::ParentLayer parent;  // may wait, see there
  std::string diff_id;        // what the content must be
  std::string chain;          // the name that it will have
};

// Decompresses the blob (by what its first bytes say), on a thread of its own, and makes a layer of it, to be
// committed by the caller as `chain`; `invalid` where its content is not what the diff id says, and then nothing is
// left of it. `interrupt` must make a blocked read of the blob fail; it is fired when the blob is not read to its end.
Result<std::unique_ptr<store::StagedLayer>> stage_blob(store::Store& store, store::ByteSource& blob,
                                                       const LayerToMake& layer, std::stop_source interrupt);

// Only looks: `invalid` where the blob's content is not what the diff id says.
Result<> check_diff_id(store::ByteSource& blob, const std::string& diff_id);

// A layer's tar that fails at its end where it is not what the diff id says: for those who read to the end before they
// believe anything.
class VerifiedTar : public store::ByteSource {
 public:
  VerifiedTar(store::ByteSource& tar, std::string diff_id) : tar_(tar), diff_id_(std::move(diff_id)) {}
  Result<std::size_t> read(std::span<std::byte> buffer) override;

 private:
  store::ByteSource& tar_;
  const std::string diff_id_;
  oci::Hasher hasher_;
  std::string got_;  // once at the end
};

// The same for a blob that is there, from stage to commit.
Result<> unpack_layer(store::Store& store, store::ByteSource& blob, const std::string& parent,
                      const std::string& diff_id, const std::string& chain);

}  // namespace corten::image
