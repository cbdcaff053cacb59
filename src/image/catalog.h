// What images and names there are: an immutable value that readers hold and writers replace. Private to the module.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "image/images.h"

namespace corten::image {

struct Catalog {
  std::map<std::string, ImagePtr, std::less<>> images;  // by id
  std::map<std::string, std::string, std::less<>>
      tags;  // full name (docker.io/library/nginx:latest or …@sha256:…) → id

  // nullptr when nothing has this name, id or unambiguous prefix of an id. `invalid` when it cannot be one.
  Result<ImagePtr> find(std::string_view reference) const;
  // Full names, sorted; tags before digests is the caller's business.
  std::vector<std::string> names_of(std::string_view id) const;
  std::vector<std::string> children_of(std::string_view id) const;
  ImageSummary summary_of(const ImagePtr& image) const;
};
using CatalogPtr = std::shared_ptr<const Catalog>;

bool is_digest_name(std::string_view full_name);
// "nginx:latest" of "docker.io/library/nginx:latest".
std::string familiar_of(std::string_view full_name);
// "No such image: nginx:latest".
std::unexpected<Error> no_such_image(std::string_view reference);
// Whether the text is an id of this image or the beginning of one, as the user may shorten it.
bool is_id_prefix(std::string_view id, std::string_view text);

}  // namespace corten::image
