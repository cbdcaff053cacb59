// The descriptors that go along with a plan, each known by its position.
#pragma once

#include <fcntl.h>

#include <vector>

#include "base/error.h"
#include "base/unique_fd.h"
#include "runtime/launch_plan.h"
#include "sys/cgroup_dir.h"

namespace corten::ociruntime {

class FdTable {
 public:
  runtime::FdSlot add(UniqueFd fd) {
    fds_.push_back(std::move(fd));
    return static_cast<runtime::FdSlot>(fds_.size() - 1);
  }
  Result<runtime::FdSlot> add_copy(int fd) {
    UniqueFd copy(::fcntl(fd, F_DUPFD_CLOEXEC, 3));
    if (!copy) return sys_fail("copy descriptor {}", fd);
    return add(std::move(copy));
  }
  Result<runtime::CgroupPlacement> add_group(const sys::CgroupDir& group) {
    runtime::CgroupPlacement placement;
    if (group.v2_directory() >= 0) placement.v2_directory = TRY(add_copy(group.v2_directory()));
    for (const int directory : group.v1_directories()) placement.v1_directories.push_back(TRY(add_copy(directory)));
    return placement;
  }
  // Descriptors 3 and following of this program, for the same numbers in the container.
  Result<std::vector<runtime::ExtraFd>> add_preserved(unsigned count) {
    std::vector<runtime::ExtraFd> extra;
    for (unsigned i = 0; i < count; ++i) {
      const int number = static_cast<int>(3 + i);
      extra.push_back({.slot = TRY(add_copy(number)), .target = number});
    }
    return extra;
  }
  const std::vector<UniqueFd>& fds() const { return fds_; }

 private:
  std::vector<UniqueFd> fds_;
};

}  // namespace corten::ociruntime
