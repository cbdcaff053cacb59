// `--change` of commit and import: Dockerfile instructions that only touch an image's configuration.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "oci/image.h"

namespace corten::image {

// CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, ONBUILD, SHELL, STOPSIGNAL, USER, VOLUME and WORKDIR, applied in
// order. Each string may hold several lines. Kind invalid names the instruction: "FROM is not a valid change command".
Result<> apply_changes(oci::RunConfig& config, const std::vector<std::string>& changes);

// Shell-like words with quotes and backslashes, as ENV and LABEL split their lines. Kind invalid: a quote is not
// closed.
Result<std::vector<std::string>> split_words(std::string_view text);

}  // namespace corten::image
