// The program: a shim, or the process that forks shims (shimproto/zygote.h).
#pragma once

#include "shim/launcher.h"

namespace corten::shim {

// By what argv[1] says: run_shim(), or run_zygote() until its daemon is gone. Returns the exit code.
int run_program(Launcher& launcher, int argc, char** argv);

}  // namespace corten::shim
