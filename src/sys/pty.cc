#include "sys/pty.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "sys/beneath.h"
#include "sys/mounts.h"

namespace corten::sys {
namespace {

Result<Pty> finish(UniqueFd master) {
  int unlock = 0;
  if (::ioctl(master.get(), TIOCSPTLCK, &unlock) != 0) return sys_fail("unlock the terminal");
  UniqueFd slave(::ioctl(master.get(), TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC));
  if (!slave) return sys_fail("open the terminal's other side");
  return Pty{std::move(master), std::move(slave)};
}

}  // namespace

Result<Pty> open_pty(int devpts) {
  auto master = TRY(open_beneath(devpts, "ptmx", O_RDWR | O_NOCTTY, Resolve::same_mount));
  struct stat status{};
  if (::fstat(master.get(), &status) != 0) return sys_fail("stat ptmx");
  if (TRY(filesystem_magic(master.get())) != DEVPTS_SUPER_MAGIC || !S_ISCHR(status.st_mode) ||
      status.st_rdev != makedev(5, 2))
    return fail(ErrorKind::invalid, "ptmx is not that of a devpts file system");
  return finish(std::move(master));
}

Result<Pty> open_pty() {
  UniqueFd master(::open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC));
  if (!master) return sys_fail("open /dev/ptmx");
  return finish(std::move(master));
}

Result<> set_window_size(int tty, WindowSize size) {
  winsize value{size.rows, size.columns, 0, 0};
  if (::ioctl(tty, TIOCSWINSZ, &value) != 0) return sys_fail("set the window size");
  return {};
}

Result<WindowSize> window_size(int tty) {
  winsize value{};
  if (::ioctl(tty, TIOCGWINSZ, &value) != 0) return sys_fail("read the window size");
  return WindowSize{value.ws_row, value.ws_col};
}

Result<> set_controlling_terminal(int tty) {
  if (::ioctl(tty, TIOCSCTTY, 0) != 0) return sys_fail("set the controlling terminal");
  return {};
}

}  // namespace corten::sys
