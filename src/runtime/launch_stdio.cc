// The descriptors that the container's program starts with: 0, 1, 2, those it was promised, and no other.
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "runtime/launch_child.h"
#include "sys/beneath.h"
#include "sys/mounts.h"
#include "sys/pty.h"

namespace corten::runtime {
namespace {

using sys::Resolve;

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

// The null device as the container has it. Through the host's node its root could change the host's mode and owner.
Result<UniqueFd> open_null(const Child& child) {
  auto own = sys::open_beneath(child.root.get(), "dev/null", O_RDWR | O_NOCTTY | O_NOFOLLOW, Resolve::no_symlinks);
  if (own && is_null_device(own->get())) return own;
  // It has none, or has put something else there. A user namespace may not make nodes, and the host's is not its own.
  if (child.sources.null_device) return copy_above(child.sources.null_device.get(), 3);
  const auto mount = TRY_AS(sys::mount_filesystem("tmpfs", "tmpfs", {}, 0), "null device");
  if (::mknodat(mount.get(), "null", S_IFCHR | 0666, makedev(1, 3)) != 0) return sys_fail("make a null device");
  return sys::open_beneath(mount.get(), "null", O_RDWR | O_NOCTTY, Resolve::no_symlinks);
}

void close_range_of(unsigned first, unsigned last) {
  if (first > last || ::syscall(SYS_close_range, first, last, 0) == 0) return;
  // Kernels before 5.9.
  struct rlimit limit{};
  const bool known = ::getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < 65536;
  const unsigned end = std::min(last, known ? static_cast<unsigned>(limit.rlim_cur) : 65535U);
  for (unsigned fd = first; fd <= end; ++fd) (void)::syscall(SYS_close, fd);
}

}  // namespace

Result<> place_stdio(Child& child) {
  std::array<UniqueFd, 3> sources;
  UniqueFd null;
  for (std::size_t i = 0; i < sources.size(); ++i) {
    const auto slot = child.process.stdio[i];
    if (!child.terminal && slot == no_fd && !null) null = TRY(open_null(child));
    const int source = child.terminal ? child.terminal.get() : slot == no_fd ? null.get() : child.fd(slot);
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

// From here on nothing is open but 0 to 2, the extra ones and the line to the parent. Closed, not only closed by exec:
// "/proc/self/fd/7/bin/sh" as the program's name would be looked up before exec closes anything (CVE-2024-21626).
Result<> place_extra_descriptors(Child& child) {
  const auto& extras = child.process.extra_fds;
  int top = 2;
  for (const auto& extra : extras) top = std::max(top, extra.target);
  // The order: 0 … top for the program, then the line, then whatever is to be placed. The owners of the numbers that
  // are written over have nothing to do any more: exec or _exit is what ends this program.
  std::vector<int> sources;
  for (const auto& extra : extras) sources.push_back(TRY(copy_above(child.fd(extra.slot), top + 2)).release());
  if (child.control != top + 1) {
    if (::dup3(child.control, top + 1, O_CLOEXEC) < 0) return sys_fail("place the line to the parent");
    child.control = top + 1;
  }
  for (std::size_t i = 0; i < extras.size(); ++i)
    if (::dup2(sources[i], extras[i].target) < 0) return sys_fail("place descriptor {}", extras[i].target);
  for (int fd = 3; fd <= top; ++fd)
    if (std::ranges::find(extras, fd, &ExtraFd::target) == extras.end())
      close_range_of(static_cast<unsigned>(fd), static_cast<unsigned>(fd));
  close_range_of(static_cast<unsigned>(top) + 2, ~0U);
  return {};
}

}  // namespace corten::runtime
