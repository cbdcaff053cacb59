// The build cache as clients see it.
#pragma once

#include <cstdint>

#include "json/codec.h"
#include "server/router.h"

namespace corten::server {

// system df's BuildCache.
json::Array build_cache_rows(const Call& call);
// Bytes of all records, those that images share not counted: system df's BuilderSize before API 1.42.
std::uint64_t build_cache_size(const Call& call);

}  // namespace corten::server
