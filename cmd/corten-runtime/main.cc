#include "ociruntime/command_line.h"
#include "sys/mounts.h"

int main(int argc, char** argv) {
  // A container must not reach our program's file through /proc/PID/exe (CVE-2019-5736). Without the right to make a
  // mount we could not start one either; what is asked for then fails, or works, by itself.
  (void)corten::sys::run_from_read_only_mount(argv);
  return corten::ociruntime::run_command_line({argv + 1, argv + argc});
}
