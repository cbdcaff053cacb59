// The floor under every container start: what the kernel alone takes for a process with five new namespaces on an
// overlay of two layers with /proc, /dev and /sys, pivot_root, exec of `true`, exit and reaping. No cgroup, no seccomp,
// no network set-up, no daemon. What an engine takes beyond this is its own doing.
//
//   floor [-n RUNS] LOWER[:LOWER…] SCRATCH PROGRAM [ARGS…]
//
// LOWER are directories with a root file system, SCRATCH an empty directory for the upper layers. Prints one line with
// the minimum, median and mean in milliseconds; with -n 1 (the default) nothing, so that hyperfine can time it.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void die(const char* what) {
  fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
  _exit(125);
}

static void need(int result, const char* what) {
  if (result < 0) die(what);
}

static void make_device(const char* path, unsigned minor_number) {
  need(mknod(path, S_IFCHR | 0666, makedev(1, minor_number)), path);
}

static void child(const char* options, const char* merged, char** argv) {
  need(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), "private /");
  need(mount("overlay", merged, "overlay", 0, options), "overlay");
  need(chdir(merged), "chdir");
  need(mount("proc", "proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL), "proc");
  need(mount("tmpfs", "dev", "tmpfs", MS_NOSUID, "mode=755,size=65536k"), "dev");
  make_device("dev/null", 3);
  make_device("dev/zero", 5);
  make_device("dev/full", 7);
  make_device("dev/random", 8);
  make_device("dev/urandom", 9);
  need(mount("sysfs", "sys", "sysfs", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL), "sys");
  need((int)syscall(SYS_pivot_root, ".", "."), "pivot_root");
  need(umount2(".", MNT_DETACH), "umount");
  need(chdir("/"), "chdir /");
  execv(argv[0], argv);
  die(argv[0]);
}

static double run_once(const char* lower, const char* scratch, int number, char** argv) {
  char upper[PATH_MAX], work[PATH_MAX], merged[PATH_MAX], options[3 * PATH_MAX];
  snprintf(upper, sizeof upper, "%s/%d-upper", scratch, number);
  snprintf(work, sizeof work, "%s/%d-work", scratch, number);
  snprintf(merged, sizeof merged, "%s/%d-merged", scratch, number);
  snprintf(options, sizeof options, "lowerdir=%.4000s,upperdir=%.4000s,workdir=%.4000s", lower, upper, work);

  struct timespec start, end;
  clock_gettime(CLOCK_MONOTONIC, &start);
  need(mkdir(upper, 0755), upper);
  need(mkdir(work, 0755), work);
  need(mkdir(merged, 0755), merged);
  struct clone_args args = {0};
  args.flags = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET;
  args.exit_signal = SIGCHLD;
  long pid = syscall(SYS_clone3, &args, sizeof args);
  need((int)pid, "clone3");
  if (pid == 0) child(options, merged, argv);
  int status = 0;
  if (waitpid((pid_t)pid, &status, 0) < 0 || status != 0) die("the program failed");
  clock_gettime(CLOCK_MONOTONIC, &end);
  return (double)(end.tv_sec - start.tv_sec) * 1e3 + (double)(end.tv_nsec - start.tv_nsec) / 1e6;
}

static int compare(const void* a, const void* b) {
  const double x = *(const double*)a, y = *(const double*)b;
  return (x > y) - (x < y);
}

int main(int argc, char** argv) {
  int runs = 1, at = 1;
  if (argc > 3 && strcmp(argv[1], "-n") == 0) {
    runs = atoi(argv[2]);
    at = 3;
  }
  if (argc - at < 3 || runs < 1 || runs > 100000) {
    fprintf(stderr, "usage: floor [-n RUNS] LOWER[:LOWER...] SCRATCH PROGRAM [ARGS...]\n");
    return 2;
  }
  double* times = calloc((size_t)runs, sizeof *times);
  if (times == NULL) die("memory");
  // Names must be new on each call of the program, or the upper layers of the last call are in the way.
  const int base = (int)getpid() * 1000;
  double sum = 0;
  for (int i = 0; i < runs; ++i) {
    times[i] = run_once(argv[at], argv[at + 1], base % 1000000000 + i, argv + at + 2);
    sum += times[i];
  }
  if (runs > 1) {
    qsort(times, (size_t)runs, sizeof *times, compare);
    printf("floor: min %.2f ms, median %.2f ms, mean %.2f ms, %d runs\n", times[0], times[runs / 2], sum / runs, runs);
  }
  free(times);
  return 0;
}
