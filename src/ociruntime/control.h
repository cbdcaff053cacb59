// The operations on a container that is there: looking at it, pausing it, changing its limits.
#pragma once

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "oci/runtime_spec.h"
#include "ociruntime/layout.h"

namespace corten::ociruntime {

// state-schema.json, indented.
Result<std::string> state_text(const Layout& layout, std::string_view id);

enum class ListFormat : std::uint8_t { table, json, ids };
Result<std::string> list_text(const Layout& layout, ListFormat format);

// Process ids of the container in our own pid namespace.
Result<std::vector<pid_t>> processes(const Layout& layout, std::string_view id);
// The lines of `ps ARGUMENTS` that are about these processes, with its heading.
Result<std::string> ps_table(const std::vector<pid_t>& pids, const std::vector<std::string>& arguments);

Result<> pause(const Layout& layout, std::string_view id);
Result<> resume(const Layout& layout, std::string_view id);
Result<> update(const Layout& layout, std::string_view id, const oci::Resources& resources);

// One line of JSON as `runc events --stats` prints it.
Result<std::string> stats_text(const Layout& layout, std::string_view id);
// Prints stats lines at the interval, and an "oom" line when the kernel kills for lack of memory, until the container
// ends.
Result<> follow_events(const Layout& layout, std::string_view id, std::chrono::milliseconds interval);

// features-schema.json, indented.
Result<std::string> features_text();
// What `spec` writes: a shell in new namespaces with Docker's default capabilities and masks.
oci::RuntimeSpec default_spec(bool rootless);

}  // namespace corten::ociruntime
