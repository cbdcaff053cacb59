// Notice of out-of-memory kills in a cgroup.
#pragma once

#include <cstdint>

#include "base/error.h"
#include "base/unique_fd.h"
#include "sys/cgroup_dir.h"

namespace corten::sys {

// How many processes of the group the kernel has killed for lack of memory since it was made. On v2 groups beneath are
// counted too. 0 where the kernel does not count (v1 before 4.13).
Result<std::uint64_t> oom_kill_count(const CgroupDir& group);

// A descriptor that becomes readable (POLLIN) when the group runs out of memory. It may also wake for other memory
// events and when the group is removed, so look at oom_kill_count after drain().
class [[nodiscard]] OomWatch {
 public:
  // `unavailable` without a memory controller.
  static Result<OomWatch> open(const CgroupDir& group);
  int fd() const { return notifier_.get(); }
  // Makes fd() unreadable until the next event.
  void drain();

 private:
  UniqueFd notifier_;  // eventfd on v1, inotify on v2
  UniqueFd control_;   // v1: memory.oom_control, must stay open
};

}  // namespace corten::sys
