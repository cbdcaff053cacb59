// The commands of a build as containers of this daemon's engine.
#pragma once

#include <memory>

#include "build/executor.h"

namespace corten::engine {
class Engine;
}
namespace corten::store {
class Snapshots;
}

namespace corten::daemon {

// Both must outlive the result, and all steps that it has made.
std::unique_ptr<build::Executor> make_build_executor(engine::Engine& engine, store::Snapshots& snapshots);

}  // namespace corten::daemon
