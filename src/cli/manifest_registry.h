// What `manifest` asks registries for. As under Docker it is this client that speaks to them, not the daemon: with the
// credentials of config.json, the proxies of the environment and the certificates in /etc/docker/certs.d.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/error.h"
#include "cli/context.h"
#include "cli/manifest_store.h"
#include "remote/registry.h"

namespace corten::cli {

class ManifestRegistry {
 public:
  // `insecure`: plain http and any certificate will do, for every registry that is asked.
  ManifestRegistry(Context& context, bool insecure) : context_(context), insecure_(insecure) {}

  using Found = std::variant<ImageManifest, std::vector<ImageManifest>>;
  // What the reference names: one image or a list. Without `whole`, an image has no platform and the images of a list
  // have no bytes: one request is enough for that. not_found: "no such manifest: docker.io/library/nginx:1.27".
  Result<Found> look(const oci::Reference& reference, bool whole);
  // One image each, with its platform, several asked for at a time. `invalid` for a list.
  Result<std::vector<ImageManifest>> images(const std::vector<oci::Reference>& references);

  // Puts an image that lives in another repository of the same registry into the target's: blobs are mounted, or
  // copied through here where the registry does not mount, then the manifest is pushed by its digest.
  Result<> adopt(const oci::Reference& target, const ImageManifest& image);
  Result<oci::Digest> put(const oci::Reference& target, std::string_view media_type, std::string_view bytes);

 private:
  Result<remote::Registry*> registry(const oci::Reference& reference);
  Result<ImageManifest> image(const oci::Reference& reference);
  Result<> bring_blob(remote::Registry& registry, const std::string& from, const std::string& to,
                      const oci::Descriptor& blob);

  Context& context_;
  const bool insecure_;
  std::map<std::string, std::unique_ptr<remote::Registry>> registries_;  // by domain; changed by one thread only
};

}  // namespace corten::cli
