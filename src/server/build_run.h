// A build from its options to what the client is told of it.
#pragma once

#include <memory>

#include "build/options.h"
#include "server/build_state.h"
#include "server/build_teller.h"
#include "server/router.h"

namespace corten::server {

// Fills in what the request's connection gives: images by its credentials (X-Registry-Config), progress of pulls.
Result<> connect_images(Call& call, build::Options& options, BuildTeller& teller);

struct BuildDone {
  std::shared_ptr<BuildProduct> product;
  BuildOutcome outcome;
};
// Builds, says so to listeners of events, and describes what was made. `stop`: the client is gone.
Result<BuildDone> run_build(Call& call, const build::Options& options, BuildTeller& teller,
                            const std::stop_token& stop);

}  // namespace corten::server
