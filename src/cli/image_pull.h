// Pulling, as a command and as a step of `run` and `create`; what images' names and platforms become on the way.
#pragma once

#include <string>
#include <string_view>

#include "base/error.h"
#include "cli/context.h"
#include "oci/reference.h"

namespace corten::cli {

// "nginx" becomes "nginx:latest"; ids and references with a tag or digest stay.
std::string with_default_tag(std::string_view image);
// "linux/arm64/v8" as the API's JSON form.
Result<std::string> platform_json(const std::string& text);

struct PullOptions {
  std::string platform = {};  // empty: the daemon's own
  bool all_tags = false;
  bool quiet = false;
  bool to_error = false;  // progress to standard error instead of output
};
// Asks the daemon to pull, with the credentials that config.json has for where the image is, and shows its progress.
Result<> pull_image(Context& context, client::Client& client, const oci::Reference& reference,
                    const PullOptions& options);

}  // namespace corten::cli
