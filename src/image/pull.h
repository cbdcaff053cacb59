// Images out of registries. What a registry sends is checked on the way in (remote::Registry: digests, sizes, media
// types), the layers against the config's diff ids; nothing that fails is kept or shown.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>

#include "image/images.h"
#include "oci/image.h"
#include "oci/reference.h"
#include "remote/registry.h"

namespace corten::image {

// One line of what `docker pull` shows. With an id: of that layer (12 digits), or of the tag. `total` 0: no bar.
struct TransferEvent {
  std::string id;
  std::string status;
  std::uint64_t current = 0;
  std::uint64_t total = 0;
  std::uint64_t size = 0;  // of a layer that is going to move, told ahead
};
// Called by one thread, which it may hold up: the transfer does not wait for it but at its end.
using TransferProgress = std::function<void(const TransferEvent&)>;

// What a pull is about to fetch the layers of.
struct PullCandidate {
  const oci::Reference& reference;
  // From what the reference names (an index, or the manifest itself) to the manifest of the image.
  std::span<const remote::ResolvedManifest> documents;
  remote::Registry& registry;  // where it comes from
  std::stop_token stop;
};

struct PullOptions {
  std::shared_ptr<const remote::Hosts> hosts;
  remote::Credentials credentials;
  remote::Options remote;
  std::optional<oci::Platform> platform;  // this machine's where not said
  unsigned parallel = 3;                  // downloads at a time
  TransferProgress progress;
  // Asked before any layer is fetched and anything is kept; an error ends the pull with it. What it gives is kept as
  // the image's Origin::record. May be empty.
  std::function<Result<std::string>(const PullCandidate&)> verify;
  std::stop_token stop;
};

struct PullResult {
  std::string image_id;
  std::string digest;    // of what the reference names: the index of an image for several platforms
  bool changed = false;  // the name did not stand for this image before
};

// By tag ("latest" where there is neither) or digest. not_found, unauthorized, forbidden, unavailable: as
// remote::Registry says; invalid: the image cannot be used here, or is not what its manifest says.
Result<PullResult> pull(Images& images, const oci::Reference& reference, const PullOptions& options);

// The tags that the reference's repository has in its registry.
Result<std::vector<std::string>> remote_tags(const oci::Reference& reference, const PullOptions& options);

}  // namespace corten::image
