#include "trust/evidence.h"

#include <algorithm>

#include "oci/digest.h"
#include "oci/image.h"
#include "remote/registry.h"

namespace corten::trust {
namespace {

constexpr std::size_t max_evidence = 32U << 20;
constexpr std::size_t max_documents = 8;

}  // namespace

std::string encode(const Evidence& evidence) { return json::to_text(evidence); }

Result<Evidence> decode(std::string_view text) {
  if (text.size() > max_evidence) return fail(ErrorKind::invalid, "the record has more than {} bytes", max_evidence);
  return json::from_text<Evidence>(text, "the record of signatures");
}

Result<std::string> image_of(const std::vector<std::string>& documents) {
  if (documents.empty() || documents.size() > max_documents)
    return fail(ErrorKind::invalid, "{} documents are none of an image", documents.size());
  for (std::size_t i = 0; i + 1 < documents.size(); ++i) {
    const oci::Index index = TRY(oci::parse_index(documents[i]));
    if (std::ranges::find(index.manifests, oci::Digest::of(documents[i + 1]).text(), &oci::Descriptor::digest) ==
        index.manifests.end())
      return fail(ErrorKind::invalid, "the signed index does not name the image's manifest");
  }
  // One reading, here as when it came.
  const std::string type = TRY(remote::manifest_media_type(documents.back(), ""));
  if (!oci::is_manifest_type(type)) return fail(ErrorKind::invalid, "the last document is no manifest of an image");
  return TRY(oci::parse_manifest(documents.back())).config.digest;
}

}  // namespace corten::trust
