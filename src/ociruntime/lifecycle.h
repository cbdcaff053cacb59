// create, start, run, exec, kill and delete of the OCI runtime command line (runtime.md, "Operations").
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "oci/runtime_spec.h"
#include "ociruntime/container_state.h"
#include "ociruntime/layout.h"

namespace corten::ociruntime {

struct LaunchOptions {
  std::string id;
  std::string bundle = ".";
  std::string config;  // another file than <bundle>/config.json
  std::string pid_file;
  std::string console_socket;
  bool no_pivot = false;
  bool no_new_keyring = false;
  unsigned preserve_fds = 0;  // descriptors 3 and following that the process gets
  bool detach = false;        // `run` only
  bool keep = false;          // `run` only: not deleted at the end
};

// What the kernel lacks and was left out goes to standard error as warnings.
Result<> create(const Layout& layout, const LaunchOptions& options);
Result<> start(const Layout& layout, std::string_view id);
// The exit code of the process; 0 at once if detached.
Result<int> run(const Layout& layout, const LaunchOptions& options);

struct ExecOptions {
  std::string id;
  oci::Process process;
  std::string pid_file;
  std::string console_socket;
  unsigned preserve_fds = 0;
  bool detach = false;
  bool ignore_paused = false;
};
Result<int> exec(const Layout& layout, const ExecOptions& options);

// `signal` is a number. With `all`, every process of the container's group gets it, also after the first one has ended.
Result<> kill(const Layout& layout, std::string_view id, int signal, bool all);
// Of a container that is stopped or not yet started; with `force` of any, and of none.
Result<> remove(const Layout& layout, std::string_view id, bool force);

// "KILL", "SIGKILL", "sigkill", "9", "RTMIN+3" and so on.
Result<int> parse_signal(std::string_view text);

}  // namespace corten::ociruntime
