// The descriptors that the container's program starts with: 0, 1, 2, those it was promised, and no other.
#include <fcntl.h>
#include <linux/close_range.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "runtime/launch_child.h"
#include "sys/pty.h"

namespace corten::runtime {
namespace {

Result<UniqueFd> copy_above(int fd, int least) {
  UniqueFd copy(::fcntl(fd, F_DUPFD_CLOEXEC, least));
  if (!copy) return sys_fail("copy descriptor {}", fd);
  return copy;
}

// /dev/stdout is opened anew by programs that run as another user: pipes and terminals must be theirs.
Result<> give_to_user(const Child& child, int fd) {
  struct stat status{};
  if (::fstat(fd, &status) != 0) return sys_fail("stat descriptor {}", fd);
  const bool pipe_or_terminal = S_ISFIFO(status.st_mode) || (child.terminal && S_ISCHR(status.st_mode));
  if (!pipe_or_terminal || status.st_uid == child.process.uid) return {};
  // Not ours to change (another owner's pipe, a read-only mount): then the program has what it has.
  if (::fchown(fd, child.process.uid, static_cast<gid_t>(-1)) != 0 && errno != EPERM && errno != EINVAL &&
      errno != EROFS)
    return sys_fail("give descriptor {} to user {}", fd, child.process.uid);
  return {};
}

void close_on_exec_from(unsigned first) {
  if (::syscall(SYS_close_range, first, ~0U, CLOSE_RANGE_CLOEXEC) == 0) return;
  // Kernels before 5.11.
  struct rlimit limit{};
  const bool known = ::getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < 65536;
  const int end = known ? static_cast<int>(limit.rlim_cur) : 65536;
  for (int fd = static_cast<int>(first); fd < end; ++fd) (void)::fcntl(fd, F_SETFD, FD_CLOEXEC);
}

}  // namespace

Result<> place_stdio(Child& child) {
  std::array<UniqueFd, 3> sources;
  for (std::size_t i = 0; i < sources.size(); ++i) {
    const auto slot = child.process.stdio[i];
    const int source = child.terminal  ? child.terminal.get()
                       : slot == no_fd ? child.sources.null_device.get()
                                       : child.fd(slot);
    // Above 2, so that none is overwritten before it is used.
    sources[i] = TRY(copy_above(source, 3));
  }
  for (int i = 0; i < 3; ++i) {
    if (::dup2(sources[static_cast<std::size_t>(i)].get(), i) < 0) return sys_fail("place descriptor {}", i);
    if (child.process.uid != 0) CHECK(give_to_user(child, i));
  }
  if (child.terminal) CHECK(sys::set_controlling_terminal(0));
  child.terminal.reset();
  return {};
}

Result<> place_extra_descriptors(Child& child) {
  const auto& extras = child.process.extra_fds;
  if (extras.empty()) {
    close_on_exec_from(3);
    return {};
  }
  int top = 2;
  for (const auto& extra : extras) top = std::max(top, extra.target);
  // All sources and the line to the parent move out of the way first.
  std::vector<UniqueFd> sources;
  for (const auto& extra : extras) sources.push_back(TRY(copy_above(child.fd(extra.slot), top + 1)));
  child.control = TRY(copy_above(child.control, top + 1)).release();
  close_on_exec_from(3);
  for (std::size_t i = 0; i < extras.size(); ++i)
    if (::dup2(sources[i].get(), extras[i].target) < 0) return sys_fail("place descriptor {}", extras[i].target);
  return {};
}

}  // namespace corten::runtime
