// One control group: the same path in every tree that a container uses.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/unique_fd.h"
#include "sys/cgroup_host.h"

namespace corten::sys {

// One write to one control file. A list of them is what a container's limits come down to; plain data.
struct CgroupSetting {
  std::string controller;  // whose tree: "memory"
  std::string file;        // "memory.limit_in_bytes"
  std::string value;
  // Not empty: if the write fails this text is the warning and the rest goes on. Empty: the write must work.
  std::string warning;
  bool operator==(const CgroupSetting&) const = default;
};

class [[nodiscard]] CgroupDir {
 public:
  using Milliseconds = std::chrono::milliseconds;

  CgroupDir() = default;
  CgroupDir(CgroupDir&& other) noexcept;
  CgroupDir& operator=(CgroupDir&& other) noexcept;
  // Kills nothing. Removes the group if this object made it and release() was not called.
  ~CgroupDir();

  // Makes the group in each tree. The parent must be there (prepare_cgroup_parent). `conflict` if it exists in one of
  // the trees; nothing is left behind on an error.
  static Result<CgroupDir> create(std::vector<CgroupTree> trees, std::string_view path);
  // An existing group in those of the trees that have it; `not_found` if none has. Does not remove it at the end.
  static Result<CgroupDir> open(std::vector<CgroupTree> trees, std::string_view path);

  explicit operator bool() const { return !parts_.empty(); }
  const std::string& path() const { return path_; }
  // From now on the group outlives this object.
  void release() { owned_ = false; }
  // From now on the group is removed with this object.
  void adopt() { owned_ = true; }

  // The directory in the v2 tree for clone3(CLONE_INTO_CGROUP), -1 if the group has none.
  int v2_directory() const;
  // The directories in the v1 trees, for writing cgroup.procs elsewhere.
  std::vector<int> v1_directories() const;
  // The directory in the tree that holds the controller, -1 if there is none.
  int directory_of(std::string_view controller) const;
  bool uses_v1() const;
  // What can be limited here.
  CgroupFeatures features() const;
  // Absolute path of the group in the tree of this controller ("" if none), for messages and /proc/PID/cgroup readers.
  std::string full_path(std::string_view controller) const;

  // Writes the process to cgroup.procs of each tree (`v1_only`: of v1 trees, for a process started with
  // CLONE_INTO_CGROUP).
  Result<> add_process(pid_t pid, bool v1_only = false) const;

  // In order. Failed writes that have a warning text are appended to `warnings`; others end it: `invalid` for a value
  // the kernel refuses, `unavailable` for a controller or file that is not there.
  Result<> apply(const std::vector<CgroupSetting>& settings, std::vector<std::string>& warnings) const;

  Result<std::string> read(std::string_view controller, std::string_view file) const;

  // Stops all processes in the group and beneath, and waits until the kernel says they are; thawed again and `deadline`
  // if that takes too long.
  Result<> freeze(Milliseconds limit) const;
  Result<> thaw(Milliseconds limit) const;
  Result<bool> frozen() const;

  // SIGKILL to everything in the group and beneath, also to what forks meanwhile and to what is frozen, then waits for
  // it to be gone. `deadline` if some process is still there (stuck in the kernel).
  Result<> kill_all(Milliseconds limit) const;
  // Once to each process found, newcomers may escape it.
  Result<> signal_all(int signal) const;
  // Process ids in our own pid namespace, of the group and all beneath, sorted, each once.
  Result<std::vector<pid_t>> pids() const;
  Result<bool> empty() const;

  // Removes the group and all beneath, children first; retries while the kernel still says busy. A group that is gone
  // is no error.
  Result<> remove(Milliseconds limit);
  // v1 only: gives the group another name beside its siblings (ready-made groups become a container's).
  Result<> rename(std::string_view new_name);

 private:
  struct Part {
    CgroupTree tree;
    UniqueFd directory;
  };
  CgroupDir(std::string path, bool owned) : path_(std::move(path)), owned_(owned) {}
  const Part* part_of(std::string_view controller) const;
  // The part whose process list stands for the group: v2, or else the first.
  const Part& any_part() const { return parts_.front(); }
  Result<> freeze_v1(const Part& part, std::string_view state, Milliseconds limit) const;
  Result<> freeze_v2(const Part& part, bool on, Milliseconds limit) const;
  void thaw_everything() const;
  Result<> wait_empty(Milliseconds limit) const;

  std::vector<Part> parts_;
  std::string path_;
  bool owned_ = false;
};

}  // namespace corten::sys
