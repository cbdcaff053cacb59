// What `info` and `version` say about the machine.
#pragma once

#include <string>

#include "server/services.h"

namespace corten::daemon {

// Fills the fields that depend on the machine alone.
void describe_host(server::DaemonInfo& info);
// Warnings as Docker words them ("WARNING: No swap limit support").
std::vector<std::string> feature_warnings(const engine::HostFeatures& features);

}  // namespace corten::daemon
