// Layers whose distribution is restricted.
#pragma once

#include <string_view>

#include "oci/image.h"

namespace corten::oci {

// "foreign" with Docker, "nondistributable" with OCI; of whatever compression.
bool is_restricted_layer_type(std::string_view type);

// Has its only place where the manifest says: it is fetched from there and never pushed. One without urls has no place
// but registries, and is as any other layer there; so is one of an open type, whose urls are but further places.
bool is_foreign(const Descriptor& layer);

}  // namespace corten::oci
