// For tests: a launcher whose "plans" are argument vectors run on the host, without a container. The test program is
// its own shim: started with argv[0] "corten-shim" it becomes one (see fake_launcher_test.cc).
#pragma once

#include <string>
#include <vector>

#include "shim/launcher.h"

namespace corten::shim {

std::string fake_plan(const std::vector<std::string>& arguments);
inline std::string shell_plan(const std::string& script) { return fake_plan({"/bin/sh", "-c", script}); }

class FakeLauncher final : public Launcher {
 public:
  Result<runtime::PreparedProcess> prepare(std::string_view plan, std::vector<UniqueFd> fds, LaunchIo io) override;
  Result<runtime::PreparedProcess> prepare_exec(std::string_view plan, std::vector<UniqueFd> fds, LaunchIo io,
                                                int init_pidfd) override;
  Result<> release(runtime::PreparedProcess& process) override;
  bool oom_killed() override { return false; }

 private:
  UniqueFd failure_;  // the child's errno, or end of file when it runs
};

}  // namespace corten::shim
