#include "ociruntime/hooks.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <unistd.h>

#include <chrono>

#include "sys/files.h"
#include "sys/process.h"

namespace corten::ociruntime {

namespace {

class SpawnActions {
 public:
  SpawnActions() { ::posix_spawn_file_actions_init(&actions_); }
  SpawnActions(const SpawnActions&) = delete;
  SpawnActions& operator=(const SpawnActions&) = delete;
  ~SpawnActions() { ::posix_spawn_file_actions_destroy(&actions_); }
  posix_spawn_file_actions_t* get() { return &actions_; }

 private:
  posix_spawn_file_actions_t actions_{};
};

// Signals that `run` waits for are blocked in this program; a hook starts with none blocked.
class SpawnAttributes {
 public:
  SpawnAttributes() {
    ::posix_spawnattr_init(&attributes_);
    sigset_t none;
    ::sigemptyset(&none);
    ::posix_spawnattr_setsigmask(&attributes_, &none);
    ::posix_spawnattr_setflags(&attributes_, POSIX_SPAWN_SETSIGMASK);
  }
  SpawnAttributes(const SpawnAttributes&) = delete;
  SpawnAttributes& operator=(const SpawnAttributes&) = delete;
  ~SpawnAttributes() { ::posix_spawnattr_destroy(&attributes_); }
  const posix_spawnattr_t* get() const { return &attributes_; }

 private:
  posix_spawnattr_t attributes_{};
};

std::vector<char*> pointers(const std::vector<std::string>& words) {
  std::vector<char*> out;
  for (const std::string& word : words) out.push_back(const_cast<char*>(word.c_str()));
  out.push_back(nullptr);
  return out;
}

// A file that reads like a pipe, but cannot fill up.
Result<UniqueFd> text_file(std::string_view text) {
  UniqueFd file = TRY(sys::make_memfd("hook state"));
  CHECK(sys::write_all(file.get(), text));
  if (::lseek(file.get(), 0, SEEK_SET) != 0) return sys_fail("rewind the hook's input");
  return file;
}

Result<> run_hook(const oci::Hook& hook, std::string_view state) {
  const UniqueFd input = TRY(text_file(state));
  SpawnActions actions;
  const SpawnAttributes attributes;
  ::posix_spawn_file_actions_adddup2(actions.get(), input.get(), 0);
  const std::vector<std::string> words = hook.args.empty() ? std::vector<std::string>{hook.path} : hook.args;
  const auto args = pointers(words);
  const auto env = pointers(hook.env);
  pid_t pid = 0;
  if (const int error =
          ::posix_spawn(&pid, hook.path.c_str(), actions.get(), attributes.get(), args.data(), env.data());
      error != 0)
    return sys_fail_text(error, "run " + hook.path);
  sys::ChildProcess child(pid, TRY(sys::pidfd_open(pid)));
  if (hook.timeout) {
    const auto limit = std::chrono::seconds(*hook.timeout);
    if (!TRY(sys::pidfd_wait_ended(child.pidfd(), limit)))
      return fail(ErrorKind::deadline, "{} did not end within {} s", hook.path, *hook.timeout);
  }
  const sys::ExitStatus status = TRY(child.wait());
  if (status.shell_code() != 0) return fail(ErrorKind::internal, "{}: exit status {}", hook.path, status.shell_code());
  return {};
}

}  // namespace

Result<> run_hooks(const std::vector<oci::Hook>& hooks, std::string_view kind_name, const oci::RuntimeState& state) {
  if (hooks.empty()) return {};
  const auto text = oci::write_runtime_state(state);
  for (std::size_t i = 0; i < hooks.size(); ++i)
    CHECK_AS(run_hook(hooks[i], text), fmt::format("error running {} hook #{}", kind_name, i));
  return {};
}

}  // namespace corten::ociruntime
