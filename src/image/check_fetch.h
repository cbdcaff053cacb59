// One blob or manifest out of a registry again, in place of a damaged one. Private to the module.
#pragma once

#include <string>
#include <vector>

#include "image/check.h"

namespace corten::image {

// Asks the registries that `names` (full, with tag or digest) lead to, in turn. The damaged blob stays until the new
// one is here, whole. not_found: no name leads to a registry that has it.
Result<> fetch_again(store::Store& store, const std::vector<std::string>& names, const oci::Descriptor& descriptor,
                     bool is_manifest, const CheckOptions& options);

}  // namespace corten::image
