// corten-shim: started by the daemon, one per container. See docs/shim.md.
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "shim/zygote.h"

int main(int argc, char** argv) {
  // Started through a descriptor, the kernel named us after its number; and nothing but 0 to 3 is ours.
  ::prctl(PR_SET_NAME, "corten-shim", 0, 0, 0);
  ::syscall(SYS_close_range, 4U, ~0U, 0U);
  corten::shim::RuntimeLauncher launcher;
  return corten::shim::run_program(launcher, argc, argv);
}
