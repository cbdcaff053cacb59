// Blobs that are documents: an image's config, a signature.
#pragma once

#include <cstddef>
#include <stop_token>
#include <string>
#include <string_view>

#include "base/error.h"
#include "remote/registry.h"

namespace corten::remote {

inline constexpr std::size_t max_document = 8U << 20;

// All of it, checked against its digest; `invalid` where it is said to have more than `limit` bytes.
Result<std::string> fetch_document(Registry& registry, std::string_view repository, const oci::Descriptor& descriptor,
                                   std::size_t limit = max_document, const std::stop_token& stop = {});

}  // namespace corten::remote
