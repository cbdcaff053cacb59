// For tests: a container made by hand from a root file system with nothing but busybox. Needs root.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "runtime/launch.h"

namespace corten::runtime {

struct Outcome {
  sys::ExitStatus status;
  std::string out;  // standard output and error
};

class LaunchTest : public ::testing::Test {
 protected:
  void SetUp() override;
  void TearDown() override;

  // Docker's mounts, devices and paths; `command` for /bin/sh -c.
  LaunchPlan make_plan(const std::string& command) const;
  // Runs to the end; standard input is /dev/null.
  Result<Outcome> run(LaunchPlan plan, std::vector<UniqueFd> fds = {});
  Result<Outcome> run_exec(ExecPlan plan, int target, std::vector<UniqueFd> fds = {});
  // The output of `command`, or a failed expectation.
  std::string sh(const std::string& command);
  std::string sh(LaunchPlan plan, std::vector<UniqueFd> fds = {});
  // A process that sleeps until it is killed, as a container to exec in.
  Result<PreparedProcess> start_sleeper();
  std::string path(const std::string& name) const { return directory_ + "/" + name; }
  std::string rootfs() const { return directory_ + "/rootfs"; }

  std::string directory_;

 private:
  Result<Outcome> collect(Result<PreparedProcess> started, UniqueFd output);
};

}  // namespace corten::runtime
