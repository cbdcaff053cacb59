// corten-shim: started by the daemon, one per container. See docs/shim.md.
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstring>
#include <span>

#include "shim/shim.h"

int main(int argc, char** argv) {
  // Started through a descriptor, the kernel named us after its number; and nothing but 0 to 3 is ours.
  ::prctl(PR_SET_NAME, "corten-shim", 0, 0, 0);
  ::syscall(SYS_close_range, 4U, ~0U, 0U);
  corten::shim::RuntimeLauncher launcher;
  // argv[1] is room for the container's id, so that ps tells the shims apart.
  std::span<char> title;
  if (argc > 1) title = {argv[1], std::strlen(argv[1])};
  return corten::shim::run_shim(launcher, title);
}
