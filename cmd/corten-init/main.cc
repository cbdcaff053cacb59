// corten-init: PID 1 of a container under `--init`.
//
//   corten-init [--] PROGRAM [ARGS…]
//
// Starts the program in a process group of its own, with the terminal if there is one, passes signals on to it, reaps
// whatever ends, and ends with the program's exit code (128 + n for signal n). It stays as small as can be: each
// container with --init has one.
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace {

constexpr int not_found = 127;
constexpr int not_executable = 126;

// What a program gets by its own doing is not passed on, nor what the kernel sends us about it.
constexpr int own_signals[] = {SIGFPE, SIGILL, SIGSEGV, SIGBUS, SIGABRT, SIGTRAP, SIGSYS};

[[noreturn]] void run_program(char** argv, const sigset_t& original) {
  ::setpgid(0, 0);
  // SIGTTOU would stop us here: a background process may take the terminal only with it blocked, which it still is.
  (void)::tcsetpgrp(STDIN_FILENO, ::getpgrp());
  (void)::signal(SIGTTIN, SIG_DFL);
  (void)::signal(SIGTTOU, SIG_DFL);
  ::sigprocmask(SIG_SETMASK, &original, nullptr);
  ::execvp(argv[0], argv);
  const int error = errno;
  ::fprintf(stderr, "corten-init: exec %s: %s\n", argv[0], ::strerror(error));
  ::_exit(error == ENOENT || error == ENOTDIR ? not_found : not_executable);
}

// Reaps everything that has ended. The program's exit code once it was among them, else -1.
int reap_all(pid_t program) {
  int code = -1;
  int status = 0;
  while (true) {
    const pid_t pid = ::waitpid(-1, &status, WNOHANG);
    if (pid <= 0) return code;
    if (pid == program) code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  }
}

}  // namespace

int main(int argc, char** argv) {
  char** program = argv + 1;
  if (argc > 1 && ::strcmp(argv[1], "--") == 0) ++program;
  if (*program == nullptr) {
    ::fprintf(stderr, "usage: corten-init [--] PROGRAM [ARGS...]\n");
    return 2;
  }
  // Not PID 1 (a container that shares the host's pid namespace): orphans come to us all the same.
  if (::getpid() != 1) (void)::prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
  sigset_t all;
  sigset_t original;
  ::sigfillset(&all);
  for (const int signal : own_signals) ::sigdelset(&all, signal);
  ::sigprocmask(SIG_SETMASK, &all, &original);
  (void)::signal(SIGTTIN, SIG_IGN);
  (void)::signal(SIGTTOU, SIG_IGN);

  const pid_t child = ::fork();
  if (child < 0) {
    ::fprintf(stderr, "corten-init: fork: %s\n", ::strerror(errno));
    return not_executable;
  }
  if (child == 0) run_program(program, original);
  while (true) {
    siginfo_t info;
    const int signal = ::sigwaitinfo(&all, &info);
    if (signal == SIGCHLD) {
      if (const int code = reap_all(child); code >= 0) return code;
    } else if (signal > 0) {
      (void)::kill(child, signal);
    }
  }
}
