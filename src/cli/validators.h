// Checks of single flag values, with Docker's error texts. Each fits Flag::validate.
#pragma once

#include <string>
#include <string_view>

#include "base/error.h"

namespace corten::cli::validate {

Result<> stream_name(std::string_view value);  // --attach
Result<> environment(std::string_view value);  // --env
Result<> label(std::string_view value);
Result<> extra_host(std::string_view value);  // --add-host
Result<> ip_address(std::string_view value);  // --dns
Result<> link(std::string_view value);
Result<> ulimit(std::string_view value);
Result<> mount(std::string_view value);
Result<> network(std::string_view value);
Result<> weight_device(std::string_view value);
Result<> throttle_bps(std::string_view value);
Result<> throttle_iops(std::string_view value);
Result<> device_cgroup_rule(std::string_view value);
Result<> sysctl(std::string_view value);
Result<> filter(std::string_view value);  // name=value

bool is_ip_address(std::string_view text);

}  // namespace corten::cli::validate
