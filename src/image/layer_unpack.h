// A layer's blob made into a layer of the snapshot store. Private to the module.
#pragma once

#include <string>

#include "base/unique_fd.h"
#include "store/store.h"

namespace corten::image {

// Decompresses `blob` (by what its first bytes say) and unpacks it on `parent`; `invalid` where its content is not what
// the config's diff id says, and then nothing is left of it.
Result<> unpack_layer(store::Store& store, UniqueFd blob, const std::string& parent, const std::string& diff_id,
                      const std::string& chain);

}  // namespace corten::image
