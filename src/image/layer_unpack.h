// A layer's blob made into a layer of the snapshot store. Private to the module.
#pragma once

#include <memory>
#include <stop_token>
#include <string>

#include "base/unique_fd.h"
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

// The same for a blob that is there, from stage to commit.
Result<> unpack_layer(store::Store& store, UniqueFd blob, const std::string& parent, const std::string& diff_id,
                      const std::string& chain);

}  // namespace corten::image
