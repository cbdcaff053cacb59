// What the parent opens on the host for its child. Private to runtime/launch*.
#pragma once

#include <span>

#include "base/error.h"
#include "runtime/launch_child.h"

namespace corten::runtime {

// Refuses slots that name no descriptor, and plans that make no sense.
Result<> check_plan(const LaunchPlan& plan, std::size_t fd_count);
Result<> check_plan(const ExecPlan& plan, std::size_t fd_count);

Result<LaunchSources> open_sources(const LaunchPlan& plan, std::span<const UniqueFd> fds);
Result<LaunchSources> open_sources(const ExecPlan& plan, std::span<const UniqueFd> fds);
// The descriptor of a namespace to join, from its slot or path.
Result<UniqueFd> open_joined(const NamespacePlan& plan, std::span<const UniqueFd> fds);

}  // namespace corten::runtime
