// From build's flags to what is asked of the daemon, as far as no file of the context has to be looked at.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/error.h"
#include "cli/build_specs.h"
#include "cli/build_ssh.h"
#include "cli/flags.h"
#include "spec/build_request.h"

namespace corten::cli {

enum class BuildProgress : std::uint8_t { plain, tty, json, quiet };

struct BuildPlan {
  spec::BuildRequest request;                // without its contexts and its Dockerfile
  std::map<std::string, std::string> named;  // --build-context: name to where
  std::string file;                          // -f
  std::vector<SshSpec> agents;               // --ssh
  std::vector<OutputSpec> outputs;           // request.outputs, with where they go
  BuildProgress progress = BuildProgress::plain;
  bool explain = false;
  std::string image_id_file, metadata_file;
};

// `draws`: standard error can show a panel; `out_is_terminal`: archives are not written to standard output. `invalid`
// for what makes no sense, `not_implemented` for what no part of Corten does: nothing is left out in silence.
Result<BuildPlan> plan_build(const FlagValues& flags, bool draws, bool out_is_terminal);

}  // namespace corten::cli
