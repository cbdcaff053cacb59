#include "oci/foreign.h"

#include <gtest/gtest.h>

namespace corten::oci {
namespace {

TEST(Foreign, IsOfARestrictedTypeAndHasAPlace) {
  const std::vector<std::string> urls{"https://host.example/layer"};
  for (const char* type : {"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
                           "application/vnd.docker.image.rootfs.foreign.diff.tar",
                           "application/vnd.oci.image.layer.nondistributable.v1.tar",
                           "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd"}) {
    EXPECT_TRUE(is_restricted_layer_type(type)) << type;
    EXPECT_FALSE(is_layer_type(type)) << type;
    EXPECT_TRUE(is_foreign({.media_type = type, .urls = urls})) << type;
    EXPECT_FALSE(is_foreign({.media_type = type})) << type;
  }
  for (const auto type : {media_type::oci_layer_gzip, media_type::docker_layer_gzip, media_type::oci_manifest}) {
    EXPECT_FALSE(is_restricted_layer_type(type)) << type;
    EXPECT_FALSE(is_foreign({.media_type = std::string(type), .urls = urls})) << type;
  }
}

}  // namespace
}  // namespace corten::oci
