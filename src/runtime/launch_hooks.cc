// Hooks of the OCI runtime specification that run inside: createContainer and startContainer.
#include <linux/close_range.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <chrono>

#include "runtime/launch_child.h"
#include "sys/files.h"
#include "sys/process.h"
#include "sys/unix_socket.h"

namespace corten::runtime {
namespace {

std::string with_pid(std::string text, std::int32_t pid) {
  constexpr std::string_view token = "@PID@";
  const std::string number = std::to_string(pid);
  for (auto at = text.find(token); at != std::string::npos; at = text.find(token, at + number.size()))
    text.replace(at, token.size(), number);
  return text;
}

[[noreturn]] void become_hook(const HookPlan& hook, int input) {
  std::vector<char*> args;
  std::vector<char*> env;
  for (const auto& text : hook.args) args.push_back(const_cast<char*>(text.c_str()));
  if (args.empty()) args.push_back(const_cast<char*>(hook.path.c_str()));
  for (const auto& text : hook.env) env.push_back(const_cast<char*>(text.c_str()));
  args.push_back(nullptr);
  env.push_back(nullptr);
  // What we ourselves were started with need not be close-on-exec, and the hook may be the image's program.
  (void)::syscall(SYS_close_range, 3U, ~0U, CLOSE_RANGE_CLOEXEC);
  if (::dup2(input, 0) == 0) ::execve(hook.path.c_str(), args.data(), env.data());
  ::_exit(127);
}

Result<> run_hook(const HookPlan& hook, const std::string& state) {
  // A socket, so that a hook which does not read its input costs no SIGPIPE.
  auto [ours, theirs] = TRY(sys::stream_pair());
  auto cloned = TRY(sys::clone_process({}));
  if (cloned.pid == 0) become_hook(hook, theirs.get());
  sys::ChildProcess process(cloned.pid, std::move(cloned.pidfd));
  theirs.reset();
  (void)sys::send_message(ours.get(), std::as_bytes(std::span(state)));
  ours.reset();
  const auto limit = hook.timeout_seconds > 0 ? std::chrono::milliseconds(std::chrono::seconds(hook.timeout_seconds))
                                              : std::chrono::milliseconds(-1);
  if (!TRY(sys::pidfd_wait_ended(process.pidfd(), limit)))
    return fail(ErrorKind::deadline, "not done after {} s", hook.timeout_seconds);
  const auto status = TRY(process.wait());
  if (status.signal != 0) return fail(ErrorKind::internal, "ended by signal {}", status.signal);
  if (status.code != 0) return fail(ErrorKind::internal, "exit code {}", status.code);
  return {};
}

}  // namespace

Result<> run_hooks(Child& child, const std::vector<HookPlan>& hooks, const std::string& state) {
  if (hooks.empty()) return {};
  const auto input = with_pid(state, child.host_pid);
  for (const auto& hook : hooks) CHECK_AS(run_hook(hook, input), "hook " + hook.path);
  return {};
}

}  // namespace corten::runtime
