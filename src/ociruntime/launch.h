// From a bundle to a prepared process: what `create` and `run` have in common.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "ociruntime/container_state.h"
#include "ociruntime/fd_table.h"
#include "ociruntime/lifecycle.h"
#include "runtime/launch.h"
#include "sys/cgroup_dir.h"

namespace corten::ociruntime {

// The steps of a launch, to be called in this order. If one fails, what the earlier ones made is undone when the object
// goes away: the process is killed, the poststop hooks run if others did before, the group and the state directory are
// removed.
class Launch {
 public:
  Launch(const Layout& layout, const LaunchOptions& options) : layout_(layout), options_(options) {}
  ~Launch();
  Launch(const Launch&) = delete;
  Launch& operator=(const Launch&) = delete;

  // `listen`: the order to go on will come from another program, through the start socket.
  Result<> prepare(bool listen);
  // Console to its socket, pid file, state record.
  Result<> publish();
  // From now on everything made stays.
  void keep();
  // Gives the lock on the state directory back, for the long wait of `run`.
  void unlock() { directory_.reset(); }

  const oci::RuntimeSpec& spec() const { return spec_; }
  const StoredState& state() const { return state_; }
  runtime::PreparedProcess& prepared() { return *prepared_; }

 private:
  Result<> read_spec();
  Result<> make_group();
  Result<> start_child(bool listen);
  Result<> run_early_hooks(pid_t pid);
  oci::RuntimeState hook_state(std::string_view status, pid_t pid) const;

  const Layout& layout_;
  const LaunchOptions& options_;
  oci::RuntimeSpec spec_;
  StoredState state_;
  bool hooks_ran_ = false;
  bool kept_ = false;
  // Undone in the reverse order.
  std::optional<StateDirectory> directory_;
  sys::CgroupDir group_;
  std::optional<runtime::PreparedProcess> prepared_;
};

void print_warnings(const std::vector<std::string>& warnings);
Result<> write_pid_file(const std::string& path, pid_t pid);

}  // namespace corten::ociruntime
