// GET /distribution/{name}/json, /distribution/{name}/tags and /images/search.
#pragma once

#include <span>

#include "server/router.h"

namespace corten::server {

std::span<const Route> distribution_routes();

}  // namespace corten::server
