// What may come next on a command line.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "cli/context.h"

namespace corten::cli {

// `words`: the line behind the program's name; the last is the one being typed and may be empty. Names of containers
// and images are asked of the daemon; one that does not answer yields none.
std::vector<std::string> complete(Context& context, std::span<const std::string> words);

}  // namespace corten::cli
