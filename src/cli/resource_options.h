// Limits as flags write them.
#pragma once

#include <string_view>

#include "base/error.h"
#include "cli/flags.h"
#include "spec/host_config.h"

namespace corten::cli {

Result<spec::Ulimit> parse_ulimit(std::string_view text);                        // "nofile=1024:2048"
Result<spec::WeightDevice> parse_weight_device(std::string_view text);           // "/dev/sda:500"
Result<spec::ThrottleDevice> parse_throttle(std::string_view text, bool bytes);  // "/dev/sda:1mb"
Result<spec::RestartPolicy> parse_restart_policy(std::string_view text);         // "on-failure:3"
Result<spec::DeviceMapping> parse_device(std::string_view text);                 // "/dev/x:/dev/y:rw"

// The limits that `run`, `create` and `update` have in common.
Result<> read_limits(const FlagValues& flags, spec::Resources& out);

}  // namespace corten::cli
