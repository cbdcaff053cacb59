// How the shim gets its processes: from the runtime, or from a test.
#pragma once

#include <array>
#include <span>
#include <string_view>
#include <vector>

#include "runtime/launch.h"

namespace corten::shim {

struct LaunchIo {
  bool tty = false;
  std::uint16_t rows = 0;
  std::uint16_t columns = 0;
  // Without a terminal: the process's ends; empty ones stand for /dev/null.
  std::array<UniqueFd, 3> child_ends;
};

class Launcher {
 public:
  virtual ~Launcher() = default;
  // `plan` as it came; `fds` are its descriptors, closed by the callee when they are no longer needed.
  virtual Result<runtime::PreparedProcess> prepare(std::string_view plan, std::vector<UniqueFd> fds, LaunchIo io) = 0;
  virtual Result<runtime::PreparedProcess> prepare_exec(std::string_view plan, std::vector<UniqueFd> fds, LaunchIo io,
                                                        int init_pidfd) = 0;
  virtual Result<> release(runtime::PreparedProcess& process) = 0;
  // Has the kernel killed one of the container's processes for lack of memory?
  virtual bool oom_killed() = 0;
};

// The real one.
class RuntimeLauncher final : public Launcher {
 public:
  Result<runtime::PreparedProcess> prepare(std::string_view plan, std::vector<UniqueFd> fds, LaunchIo io) override;
  Result<runtime::PreparedProcess> prepare_exec(std::string_view plan, std::vector<UniqueFd> fds, LaunchIo io,
                                                int init_pidfd) override;
  Result<> release(runtime::PreparedProcess& process) override;
  bool oom_killed() override;

 private:
  UniqueFd oom_counter_;  // memory.oom_control (v1) or memory.events (v2), open so that it can be read at the very end
};

}  // namespace corten::shim
