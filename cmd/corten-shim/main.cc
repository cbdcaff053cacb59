// corten-shim: started by the daemon, one per container. See docs/shim.md.
#include <cstring>
#include <span>

#include "shim/shim.h"

int main(int argc, char** argv) {
  corten::shim::RuntimeLauncher launcher;
  // argv[1] is room for the container's id, so that ps tells the shims apart.
  std::span<char> title;
  if (argc > 1) title = {argv[1], std::strlen(argv[1])};
  return corten::shim::run_shim(launcher, title);
}
