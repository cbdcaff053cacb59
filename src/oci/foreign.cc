#include "oci/foreign.h"

namespace corten::oci {

bool is_restricted_layer_type(std::string_view type) {
  return type.starts_with("application/vnd.docker.image.rootfs.foreign.diff.tar") ||
         type.starts_with("application/vnd.oci.image.layer.nondistributable.v1.tar");
}

bool is_foreign(const Descriptor& layer) { return is_restricted_layer_type(layer.media_type) && !layer.urls.empty(); }

}  // namespace corten::oci
