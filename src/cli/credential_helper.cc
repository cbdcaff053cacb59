#include "cli/credential_helper.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

#include "base/text.h"
#include "base/unique_fd.h"
#include "cli/terminal.h"

namespace corten::cli {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::string_view prefix = "docker-credential-";

// A started program; what has not ended by itself is killed.
class [[nodiscard]] Child {
 public:
  explicit Child(pid_t pid) : pid_(pid), watch_(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0))) {}
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    (void)reap();
  }
  int watch() const { return watch_.get(); }
  int reap() {
    int status = 0;
    while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
    }
    pid_ = 0;
    return status;
  }

 private:
  pid_t pid_;
  UniqueFd watch_;
};

// What posix_spawn wants to be told about descriptors.
class [[nodiscard]] FileActions {
 public:
  FileActions() { ::posix_spawn_file_actions_init(&actions_); }
  FileActions(const FileActions&) = delete;
  FileActions& operator=(const FileActions&) = delete;
  ~FileActions() { ::posix_spawn_file_actions_destroy(&actions_); }
  int put(int fd, int as) { return ::posix_spawn_file_actions_adddup2(&actions_, fd, as); }
  const posix_spawn_file_actions_t* get() const { return &actions_; }

 private:
  posix_spawn_file_actions_t actions_{};
};

// A file in memory as standard input: no pipe that could fill up or break.
Result<UniqueFd> input_file(std::string_view input) {
  UniqueFd fd(::memfd_create("credentials", MFD_CLOEXEC));
  if (!fd) return sys_fail("make a file in memory");
  CHECK(write_all(fd.get(), input));
  if (::lseek(fd.get(), 0, SEEK_SET) != 0) return sys_fail("rewind a file in memory");
  return fd;
}

// One read's worth; false at the end or where nothing is there yet.
Result<bool> take(int fd, std::string& out, const std::string& program) {
  char chunk[16384];
  const ssize_t count = ::read(fd, chunk, sizeof chunk);
  if (count < 0 && (errno == EINTR || errno == EAGAIN)) return errno == EINTR;
  if (count < 0) return sys_fail("read from {}", program);
  out.append(chunk, static_cast<std::size_t>(count));
  if (out.size() > most_helper_output)
    return fail(ErrorKind::invalid, "{} wrote more than {} bytes", program, most_helper_output);
  return count > 0;
}

// Until the program has ended; a descendant that keeps the pipe open is not waited for.
Result<std::string> collect(Child& child, int fd, const std::string& program, Clock::time_point deadline) {
  std::string out;
  pollfd waiting[2]{{fd, POLLIN, 0}, {child.watch(), POLLIN, 0}};
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()).count();
    const int ready = left <= 0 ? 0 : ::poll(waiting, 2, static_cast<int>(left));
    if (ready < 0 && errno == EINTR) continue;
    if (ready < 0) return sys_fail("wait for {}", program);
    if (ready == 0) return fail(ErrorKind::deadline, "{} did not end in time and was killed", program);
    const bool ended = waiting[1].revents != 0;
    if (waiting[0].revents != 0 && !TRY(take(fd, out, program))) waiting[0].fd = -1;
    if (!ended) continue;
    while (TRY(take(fd, out, program))) {
    }
    return out;
  }
}

Error failure(const std::string& program, int status, const std::string& said) {
  if (said.find("credentials not found") != std::string::npos) return Error(ErrorKind::not_found, said);
  // A helper's answer is shown only as far as an error message goes.
  const std::string reason = said.empty() ? "" : ", out: `" + said.substr(0, 512) + "`";
  if (WIFSIGNALED(status))
    return Error(ErrorKind::internal, fmt::format("{}: killed by signal {}{}", program, WTERMSIG(status), reason));
  return Error(ErrorKind::internal, fmt::format("{}: exit status {}{}", program, WEXITSTATUS(status), reason));
}

bool on_path(std::string_view program) {
  const char* path = std::getenv("PATH");
  for (std::string_view rest = path == nullptr ? "" : path; !rest.empty();) {
    const auto colon = std::min(rest.find(':'), rest.size());
    if (colon > 0 && ::access(fmt::format("{}/{}", rest.substr(0, colon), program).c_str(), X_OK) == 0) return true;
    rest.remove_prefix(std::min(colon + 1, rest.size()));
  }
  return false;
}

}  // namespace

Result<std::string> run_credential_helper(std::string_view name, std::string_view verb, std::string_view input,
                                          int error_fd, std::chrono::milliseconds patience) {
  // The name comes from a file: with a slash in it, it would name a program outside the PATH.
  if (name.empty() || name.find('/') != std::string_view::npos || name.find('\0') != std::string_view::npos)
    return fail(ErrorKind::invalid, "the credential helper's name is not a plain name");
  const std::string program = std::string(prefix) + std::string(name);
  const UniqueFd in = TRY(input_file(input));
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return sys_fail("make a pipe");
  const UniqueFd from(ends[0]);
  UniqueFd to(ends[1]);
  if (::fcntl(from.get(), F_SETFL, O_NONBLOCK) != 0) return sys_fail("set up a pipe");
  FileActions actions;
  actions.put(in.get(), 0);
  actions.put(to.get(), 1);
  actions.put(error_fd, 2);
  std::string argument(verb);
  std::string own_name = program;
  char* arguments[]{own_name.data(), argument.data(), nullptr};
  pid_t pid = 0;
  const auto deadline = Clock::now() + patience;
  if (const int error = ::posix_spawnp(&pid, program.c_str(), actions.get(), nullptr, arguments, ::environ); error != 0)
    return sys_fail_text(error, "run " + program);
  to.reset();
  Child child(pid);
  if (child.watch() < 0) return sys_fail("watch {}", program);
  std::string out = TRY(collect(child, from.get(), program, deadline));
  if (const int status = child.reap(); status != 0)
    return std::unexpected(failure(program, status, std::string(trim(out))));
  return out;
}

std::string default_credential_helper() {
  const std::string name = on_path("pass") ? "pass" : "secretservice";
  return on_path(std::string(prefix) + name) ? name : std::string();
}

}  // namespace corten::cli
