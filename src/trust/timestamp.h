// Signed timestamps (RFC 3161): an authority's word that it saw a signature at a certain time.
#pragma once

#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/time.h"
#include "trust/certificates.h"

namespace corten::trust {

// The time of a DER TimeStampResp that is about `signature` (raw). It must be made by one of the authorities' keys:
// `authorities` holds their roots, and whatever of their other certificates the response leaves out. `invalid` says why
// not. Hashes: SHA-256, SHA-384, SHA-512.
Result<Timestamp> timestamp_of(std::string_view response, const std::vector<Certificate>& authorities,
                               std::string_view signature);

}  // namespace corten::trust
