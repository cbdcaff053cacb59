// What is kept with an image: signatures, and the documents that lead from what was signed to the image.
//
// An image's id is the digest of its config. A signature is over the digest of an index or a manifest. Between them are
// documents, each of which names the next one's digest; whoever has them can see, without a registry, that the signed
// digest stands for this image.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "trust/signature.h"

namespace corten::trust {

struct Evidence {
  std::string repository;              // where it was found: docker.io/library/nginx
  std::vector<std::string> documents;  // what the reference stood for first, the image's manifest last
  std::vector<Signature> signatures;
  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit("repository", self.repository);
    visit("documents", self.documents);
    visit("signatures", self.signatures, json::omit_empty);
  }
};

std::string encode(const Evidence& evidence);
// `invalid` where it was damaged, and where it holds more than pull ever keeps.
Result<Evidence> decode(std::string_view text);

// The id of the image that the documents lead to. `invalid` where one does not name the next.
Result<std::string> image_of(const std::vector<std::string>& documents);

}  // namespace corten::trust
