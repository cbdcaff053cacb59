#include "shim/fake_launcher_test.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstring>

#include "shim/zygote.h"
#include "sys/pty.h"

namespace corten::shim {
namespace {

struct Pipe {
  UniqueFd read_end;
  UniqueFd write_end;
};

Pipe make_pipe() {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) ::abort();
  return {UniqueFd(ends[0]), UniqueFd(ends[1])};
}

[[noreturn]] void run_child(std::string plan, const LaunchIo& io, int terminal, int start, int failure) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  ::setsid();
  if (terminal >= 0) ::ioctl(terminal, TIOCSCTTY, 0);
  const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  for (int i = 0; i < 3; ++i) {
    const auto& end = io.child_ends[static_cast<std::size_t>(i)];
    ::dup2(terminal >= 0 ? terminal : end ? end.get() : null, i);
  }
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  char go = 0;
  if (::read(start, &go, 1) != 1) ::_exit(1);
  std::vector<char*> arguments;
  for (std::size_t at = 0; at < plan.size(); at += std::strlen(plan.data() + at) + 1)
    arguments.push_back(plan.data() + at);
  arguments.push_back(nullptr);
  std::array<char*, 2> environment{const_cast<char*>("PATH=/usr/bin:/bin"), nullptr};
  ::execve(arguments[0], arguments.data(), environment.data());
  const int code = errno;
  (void)!::write(failure, &code, sizeof code);
  ::_exit(127);
}

}  // namespace

std::string fake_plan(const std::vector<std::string>& arguments) {
  std::string plan;
  for (const auto& argument : arguments) plan.append(argument).push_back('\0');
  return plan;
}

Result<runtime::PreparedProcess> FakeLauncher::prepare(std::string_view plan, std::vector<UniqueFd> /*fds*/,
                                                       LaunchIo io) {
  runtime::PreparedProcess process;
  UniqueFd slave;
  if (io.tty) {
    auto pty = TRY(sys::open_pty());
    process.console = std::move(pty.master);
    slave = std::move(pty.slave);
    if (io.rows != 0) CHECK(sys::set_window_size(slave.get(), {io.rows, io.columns}));
  }
  auto start = make_pipe();
  auto failure = make_pipe();
  const pid_t pid = ::fork();
  if (pid < 0) return sys_fail("fork");
  if (pid == 0) {
    start.write_end.reset();
    run_child(std::string(plan), io, slave.get(), start.read_end.get(), failure.write_end.get());
  }
  process.child = sys::ChildProcess(pid, TRY(sys::pidfd_open(pid)));
  process.control = std::move(start.write_end);
  failure_ = std::move(failure.read_end);
  return process;
}

Result<runtime::PreparedProcess> FakeLauncher::prepare_exec(std::string_view plan, std::vector<UniqueFd> fds,
                                                            LaunchIo io, int /*init_pidfd*/) {
  return prepare(plan, std::move(fds), std::move(io));
}

Result<> FakeLauncher::release(runtime::PreparedProcess& process) {
  if (::write(process.control.get(), "g", 1) != 1) return sys_fail("release the child");
  int code = 0;
  if (::read(failure_.get(), &code, sizeof code) == sizeof code) {
    CHECK(process.child.wait());
    return fail(ErrorKind::not_found, "exec: \"x\": {}", errno_text(code));
  }
  return {};
}

namespace {

// Before gtest's main: this very program is the shim when the hub has started it under that name.
__attribute__((constructor)) void become_shim(int argc, char** argv) {
  if (argc < 2 || std::strcmp(argv[0], "corten-shim") != 0) return;
  FakeLauncher launcher;
  ::_exit(run_program(launcher, argc, argv));
}

}  // namespace

}  // namespace corten::shim
