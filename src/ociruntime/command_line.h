// The program: words in, exit code out.
#pragma once

#include <string>
#include <vector>

namespace corten::ociruntime {

// `words` without the program's name. Errors go to standard error and, with --log, to that file in the form that
// containerd and Podman read. 1 after an error (255 from exec), else 0 or the exit code of the container's process.
int run_command_line(const std::vector<std::string>& words);

}  // namespace corten::ociruntime
