// Counters as the Engine API's stats answer, which differs by cgroup version.
#pragma once

#include "engine/stats.h"
#include "engine/view.h"
#include "json/codec.h"
#include "server/api_version.h"

namespace corten::server {

// `previous` may be null: then precpu_stats is empty, and a client cannot tell a rate yet.
json::Value stats_json(const engine::StatsSample& sample, const engine::StatsSample* previous,
                       const engine::ContainerView& container, ApiVersion version);

}  // namespace corten::server
