// What is left of a build that went well: files that were asked for, its id, what is known of it.
#pragma once

#include "base/error.h"
#include "cli/build_options.h"
#include "cli/build_view.h"
#include "cli/context.h"
#include "client/client.h"

namespace corten::cli {

// Makes sure that they can be written, before the build begins: an older id file goes, as with Docker.
Result<> prepare_results(const BuildPlan& plan);
// Fetches the outputs that are files, writes --iidfile and --metadata-file, tells what came of it. The build's stream
// must still be open.
Result<> take_results(Context& context, client::Client& client, const BuildPlan& plan, const spec::BuildResult& result,
                      BuildView& view);

}  // namespace corten::cli
