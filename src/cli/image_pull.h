// Pulling as a step of `run` and `create`.
#pragma once

#include <string>
#include <string_view>

#include "base/error.h"
#include "cli/context.h"

namespace corten::cli {

// "nginx" becomes "nginx:latest"; ids and references with a tag or digest stay.
std::string with_default_tag(std::string_view image);
// Asks the daemon to pull and shows its progress on standard error.
Result<> pull_image(Context& context, client::Client& client, std::string_view image, std::string_view platform,
                    bool quiet);

}  // namespace corten::cli
