// Hooks that run in the runtime's own namespaces (config.md, "POSIX-platform Hooks").
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "oci/runtime_spec.h"

namespace corten::ociruntime {

// Runs them one after the other, the state on each one's standard input, up to the first that fails, exits with another
// code than 0 or takes longer than its timeout (then it is killed). `kind_name` ("createRuntime") is for the error
// text.
Result<> run_hooks(const std::vector<oci::Hook>& hooks, std::string_view kind_name, const oci::RuntimeState& state);

}  // namespace corten::ociruntime
