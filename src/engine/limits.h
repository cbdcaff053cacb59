// The checks of resource limits, apart because `update` needs them alone.
#pragma once

#include <string>
#include <vector>

#include "base/error.h"
#include "engine/defaults.h"
#include "spec/host_config.h"

namespace corten::engine {

// Checks host_config's limits against reason and the kernel; what the kernel or this process's rights do not allow is
// taken out and named in `warnings`. NanoCpus is kept as it is (inspect shows it) and turned into a quota at start.
Result<> complete_limits(spec::HostConfig& host_config, const HostFeatures& features,
                         std::vector<std::string>& warnings);

// "0-2,7" within what is online; the numbers it names. Kind invalid otherwise.
Result<std::vector<unsigned>> parse_cpu_list(std::string_view text);

}  // namespace corten::engine
