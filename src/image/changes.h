// `--change` of commit and import: Dockerfile instructions that only touch an image's configuration.
#pragma once

#include <string>
#include <vector>

#include "base/error.h"
#include "oci/image.h"

namespace corten::image {

// CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, ONBUILD, SHELL, STOPSIGNAL, USER, VOLUME and WORKDIR, applied in
// order; variables are those of the configuration. Each string may hold several lines, with continuations and comments
// as in a Dockerfile. Kind invalid names the instruction: "FROM is not a valid change command".
Result<> apply_changes(oci::RunConfig& config, const std::vector<std::string>& changes);

}  // namespace corten::image
