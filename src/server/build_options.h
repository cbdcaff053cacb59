// What is asked of a build, out of the classic query or Corten's document, as the builder wants it.
#pragma once

#include "build/options.h"
#include "server/router.h"
#include "spec/build_request.h"

namespace corten::server {

// The query of POST /build. Docker's texts for what cannot be read ("error reading build args: …"); `invalid`.
Result<spec::BuildRequest> classic_request(const Call& call);
// Docker's query wants BuildKit, or something that only BuildKit does.
Result<> refuse_buildkit(const Call& call);

// All but the contexts, sources and agents. Checks names, platforms, sizes of secrets; `invalid`.
Result<build::Options> build_options(const spec::BuildRequest& request);

// Full names with tag, each once, in order. `invalid`: no name, or one with a digest.
Result<std::vector<std::string>> tag_names(const spec::Strings& tags);

}  // namespace corten::server
