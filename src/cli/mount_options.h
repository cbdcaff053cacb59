// --mount, -v and --tmpfs.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "spec/host_config.h"

namespace corten::cli {

Result<spec::Mount> parse_mount(std::string_view text);
// Sorts -v into binds ("src:dst[:mode]", relative sources made absolute) and anonymous volumes.
Result<> read_volumes(const std::vector<std::string>& given, spec::Strings& binds, spec::Set& volumes);

}  // namespace corten::cli
