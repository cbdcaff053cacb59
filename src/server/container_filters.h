// Which containers `ps --filter` shows.
#pragma once

#include <functional>

#include "base/error.h"
#include "engine/view.h"
#include "image/images.h"
#include "server/filters.h"

namespace corten::server {

using ContainerMatch = std::function<bool(const engine::ContainerView&)>;

struct ContainerFilter {
  ContainerMatch matches;    // none: everything
  bool says_status = false;  // then stopped containers are shown without --all
};

// Resolves names in the filters (ancestor, before, since) once; kind invalid or not_found for what makes no sense.
Result<ContainerFilter> compile_container_filter(
    const Filters& filters, const image::Images& images,
    const std::function<Result<engine::ContainerPtr>(std::string_view)>& find);

// until and label filters of `container prune`.
Result<ContainerMatch> compile_prune_filter(const Filters& filters);

}  // namespace corten::server
