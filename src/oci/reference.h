// Image references as Docker writes and reads them.
//
//   what a user types          domain     path           familiar() gives
//   nginx                      docker.io  library/nginx  nginx
//   me/app:1.2                 docker.io  me/app         me/app:1.2
//   localhost:5000/a@sha256:…  localhost:5000  a         localhost:5000/a@sha256:…
//
// Grammar: the distribution project's reference grammar; a name of at most 255 bytes, a tag of at most 128.
#pragma once

#include <string>
#include <string_view>

#include "base/error.h"

namespace corten::oci {

struct Reference {
  std::string domain;
  std::string path;
  std::string tag;     // may be empty
  std::string digest;  // may be empty; "sha256:…"

  // docker.io/library/nginx
  std::string name() const;
  // nginx
  std::string familiar_name() const;
  // docker.io/library/nginx:latest
  std::string full() const;
  // nginx:latest
  std::string familiar() const;
  // Has neither tag nor digest.
  bool name_only() const { return tag.empty() && digest.empty(); }
  // Whether an image may get it as a name: invalid for "sha256", which could not be told from a digest.
  Result<> may_be_given() const;
  // With "latest" if name_only.
  Reference with_default_tag() const;
  bool operator==(const Reference&) const = default;
};

// Normalises as Docker does; nothing is added. `invalid` with Docker's texts ("invalid reference format",
// "invalid reference format: repository name (library/NGINX) must be lowercase"). 64 hexadecimal digits are an id, not
// a name, and refused.
Result<Reference> parse_reference(std::string_view text);
bool valid_tag(std::string_view tag);

}  // namespace corten::oci
