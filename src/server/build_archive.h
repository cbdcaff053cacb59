// What a build made, as archives: images (docker and OCI layout in one) and plain files. The image need not have been
// recorded.
#pragma once

#include <cstdint>
#include <string>

#include "build/builder.h"
#include "oci/digest.h"
#include "server/build_state.h"
#include "store/store.h"

namespace corten::server {

// The documents of an image as recording it makes them.
struct ImageDocuments {
  std::string config, manifest;
  oci::Digest config_digest, manifest_digest;
};
ImageDocuments documents_of(const build::Built::One& image);
// Sum of its layers' files.
std::uint64_t size_of(const build::Built::One& image);

// All images of the product, named `names` where the output's "name" attribute says nothing else. "docker" is for one
// platform. `invalid`.
Result<> write_images(store::Store& store, const BuildProduct& product, const spec::BuildOutput& output,
                      store::ByteSink& tar);
// The files of the result; where several platforms were built, each in a directory like linux_arm64.
Result<> write_files(store::Store& store, const BuildProduct& product, store::ByteSink& tar);

// Whether this output can be made of so many images; `invalid` or `not_implemented` says why not.
Result<> check_output(const spec::BuildOutput& output, std::size_t platforms);

}  // namespace corten::server
