// Instructions that only change an image's configuration, applied as Docker does: ENV, LABEL, EXPOSE, VOLUME, USER,
// WORKDIR, CMD, ENTRYPOINT, HEALTHCHECK, SHELL, STOPSIGNAL, ONBUILD, MAINTAINER.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "dockerfile/expand.h"
#include "dockerfile/syntax.h"
#include "oci/image.h"

namespace corten::dockerfile {

// What a stage knows beside its configuration. A new one for each stage, also for one that goes on from another.
struct StageMemory {
  bool cmd_set = false;  // a CMD of this stage stands; an ENTRYPOINT takes away only one that was inherited
  std::string author;    // MAINTAINER: goes to the image, not to its configuration
};

bool is_configuration(const Body& body);

// Words are expanded here; those of one instruction all see the values from before it. Where it fails (`invalid`:
// Docker's text without the instruction's name, where Docker's has none) `config` is as it was. `seen` collects the
// variables that were looked at; its text is not touched. A body that is no configuration is `internal`.
Result<> apply(oci::RunConfig& config, const Body& body, const Lookup& lookup, StageMemory& memory,
               const ExpandOptions& options = {}, Expanded* seen = nullptr);

// The words of a command line: as they are, or behind the configuration's shell ("/bin/sh -c" where it has none).
std::vector<std::string> command_words(const oci::RunConfig& config, const CommandLine& command);
// WORKDIR: `path` taken from `from` ("" is "/"), without ".", ".." and double slashes.
std::string join_path(std::string_view from, std::string_view path);
// What EXPOSE makes of an expanded word: "80/tcp", for a range one of each port. `invalid` with Docker's texts.
Result<std::vector<std::string>> exposed_ports(std::string_view text);

// Sets or replaces NAME=value.
void set_variable(std::vector<std::string>& env, std::string_view name, std::string_view value);
// Looks in "NAME=value" lines, which must live as long as it is used; of several the last counts.
Lookup lookup_in(const std::vector<std::string>& env);

}  // namespace corten::dockerfile
