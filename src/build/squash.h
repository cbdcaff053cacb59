// --squash. Private to the module.
#pragma once

#include "build/job.h"

namespace corten::build {

// All layers above the base image's become one.
Result<> squash(Job& job, State& state);

}  // namespace corten::build
