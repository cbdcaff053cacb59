// Manifest lists that are being put together: <configuration>/manifests/<list>/<image>, shared with Docker's client.
//
// A list is a folder with one JSON document for each image in it. Names are the full references with '/' as '_' and ':'
// as '-', as Docker's client writes them, so that both see the same lists.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "cli/context.h"
#include "oci/image.h"
#include "oci/reference.h"

namespace corten::cli {

struct ImageManifest {
  std::string reference;       // full: "docker.io/library/nginx:1.27"
  oci::Descriptor descriptor;  // with the platform that the list says, which may be another than the image's own
  std::string raw;             // the manifest's bytes
};

// As Docker's client writes it, compact.
std::string to_text(const ImageManifest& image);
// `invalid` for what is no such document.
Result<ImageManifest> parse_image_manifest(std::string_view text);

class ManifestStore {
 public:
  explicit ManifestStore(const Context& context) : root_(context.options().config_directory + "/manifests") {}

  // not_found, with errno 0: "No such manifest: docker.io/library/nginx:1.27".
  Result<ImageManifest> get(const oci::Reference& list, const oci::Reference& image) const;
  // In the order of their files' names. not_found as above.
  Result<std::vector<ImageManifest>> images(const oci::Reference& list) const;
  bool has(const oci::Reference& list) const;
  // A file is complete or not there.
  Result<> save(const oci::Reference& list, const oci::Reference& image, const ImageManifest& manifest) const;
  // Also of what cannot be read. not_found as above.
  Result<> remove(const oci::Reference& list) const;

 private:
  std::string folder(const oci::Reference& list) const;
  std::string file(const oci::Reference& list, const oci::Reference& image) const;
  std::string root_;
};

// "&", "<" and ">" within JSON as Go writes them.
std::string go_escaped(std::string_view json);

}  // namespace corten::cli
