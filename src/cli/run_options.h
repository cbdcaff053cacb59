// Flags of `run` and `create` to what the daemon is asked for.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "cli/flags.h"
#include "json/codec.h"
#include "spec/container_config.h"
#include "spec/host_config.h"
#include "spec/network_settings.h"

namespace corten::cli {

struct CreateRequest {
  spec::ContainerConfig config;
  spec::HostConfig host;
  spec::NetworkingConfig networking;
  std::vector<std::string> warnings;  // to be shown whatever the daemon says

  json::Value to_json() const;
};

// `arguments` are IMAGE [COMMAND...]. Errors have Docker's texts.
Result<CreateRequest> read_create_request(const FlagValues& flags, std::span<const std::string> arguments);

// --env-file and --env, --label-file and --label: files first. A name without value takes it from our environment, and
// is dropped where that has none (files) or passed as it is (flags: the daemon removes the image's variable).
Result<std::vector<std::string>> read_environment(const std::vector<std::string>& files,
                                                  const std::vector<std::string>& given);
Result<spec::Labels> read_labels(const std::vector<std::string>& files, const std::vector<std::string>& given);
// "a=b" pairs as a map; a missing value is empty.
spec::Labels pairs(const std::vector<std::string>& given);

}  // namespace corten::cli
