// Images into registries: the blobs and the manifest as they are stored, so that an image that was pulled or pushed
// before keeps its digest.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "image/images.h"
#include "image/pull.h"
#include "oci/image.h"
#include "oci/reference.h"
#include "remote/registry.h"

namespace corten::image {

struct PushOptions {
  std::shared_ptr<const remote::Hosts> hosts;
  remote::Credentials credentials;
  remote::Options remote;
  std::optional<oci::Platform> platform;  // not_found where the image is for another
  unsigned parallel = 5;                  // layers at a time
  TransferProgress progress;
  std::stop_token stop;
};

struct PushResult {
  std::string tag;
  std::string digest;  // of the manifest, which the registry now has under the tag
  std::uint64_t size = 0;
};

// The image that the full name stands for ("latest" where there is no tag). A layer that the registry has is not sent
// again; one that it has in another repository, as a name@digest of ours says, is mounted from there. The manifest goes
// last. The image then also has the name name@digest.
//
// The layers' events: Preparing, Waiting, Pushing, and one of Pushed, Layer already exists, Mounted from x/y, Skipped
// foreign layer. invalid: a reference by digest. not_found: no such name here, or a blob that neither we nor the
// registry has. Else as remote::Registry says; what was sent before an error may stay in the registry.
Result<PushResult> push(Images& images, const oci::Reference& reference, const PushOptions& options);

// The tags that names of the reference's repository have here, sorted: what `push --all-tags` pushes.
std::vector<std::string> pushable_tags(const Images& images, const oci::Reference& reference);

}  // namespace corten::image
