// Signatures out of the registry that the image comes from.
#pragma once

#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "oci/digest.h"
#include "remote/registry.h"
#include "trust/signature.h"

namespace corten::trust {

// What was found for one digest, and in words what was there and could not be taken: too large, too many, not readable.
struct Found {
  std::vector<Signature> signatures;
  std::vector<std::string> notes;
};

inline constexpr std::size_t max_signatures = 50;  // looked at for one digest and one form

// Layers of the tag sha256-<hex>.sig. No such tag: nothing found. Errors where the registry cannot be asked.
Result<Found> find_cosign(remote::Registry& registry, std::string_view repository, const oci::Digest& subject,
                          const std::stop_token& stop);
// Referrers, by the API or the tag sha256-<hex>: bundles, and cosign's signatures in the form of its tag.
Result<Found> find_referrers(remote::Registry& registry, std::string_view repository, const oci::Digest& subject,
                             const std::stop_token& stop);

// Whether a tag is one of those that stand beside images and are none: signatures, attestations, lists of referrers.
bool is_signature_tag(std::string_view tag);

}  // namespace corten::trust
