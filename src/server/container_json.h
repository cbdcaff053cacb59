// Containers as the Engine API shows them: ContainerSummary and ContainerInspectResponse, by API version.
#pragma once

#include <optional>
#include <string>

#include "engine/engine.h"
#include "json/codec.h"
#include "server/api_version.h"
#include "server/services.h"

namespace corten::server {

// "Up 3 minutes (healthy)", "Exited (0) 2 hours ago" …
std::string status_text(const engine::ContainerView& container, Timestamp reference);

json::Value container_summary(const engine::ContainerView& container, const Services& services, ApiVersion version,
                              const std::optional<engine::DiskUsage>& size);
// Appends the encoded summary. Without sizes and for a new version it is mostly copied from what the view keeps: a list
// of many costs little more than its bytes.
void append_summary(std::string& out, const engine::ContainerView& container, const Services& services,
                    ApiVersion version, const std::optional<engine::DiskUsage>& size, Timestamp reference);
json::Value container_inspect(const engine::ContainerView& container, const Services& services, ApiVersion version,
                              const std::optional<engine::DiskUsage>& size);

}  // namespace corten::server
