// The routes of Corten's own way to build (docs/build-api.md), and what they share with Docker's.
#pragma once

#include <stop_token>
#include <string>

#include "server/build_context.h"
#include "server/router.h"

namespace corten::server {

Result<> corten_build(Call& call);
Result<> begin_context(Call& call);
Result<> take_contents(Call& call);
Result<> take_tar_context(Call& call);
Result<> drop_context(Call& call);
Result<> fetch_result(Call& call);
Result<> forward_agent(Call& call);

// A Git repository, a tar, or a Dockerfile and nothing else, fetched from an address. `invalid`: not http, https or
// Git.
Result<BuildInput> remote_input(Call& call, const std::string& url, const std::stop_token& stop);

std::unexpected<Error> no_builder();

}  // namespace corten::server
