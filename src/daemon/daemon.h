// The composition root: configuration in, a running daemon out. Owns everything, in order of dependence.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "daemon/config.h"

namespace corten::daemon {

// What --validate looks at beyond the configuration itself: the files that it names.
Result<> validate(const Config& config);

// Runs until SIGTERM or SIGINT (a second one ends it at once); SIGHUP reads the configuration again. To be called once,
// from the main thread, before any other thread exists: the signals are blocked in all of them.
Result<> run(Config config, const std::vector<std::string>& arguments);

}  // namespace corten::daemon
