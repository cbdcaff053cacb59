#include "sys/placement.h"

#include <linux/fs.h>
#include <sys/ioctl.h>

namespace corten::sys {

void spread_subdirectories(int directory) {
  int flags = 0;
  if (::ioctl(directory, FS_IOC_GETFLAGS, &flags) != 0 || (flags & FS_TOPDIR_FL) != 0) return;
  flags |= FS_TOPDIR_FL;
  static_cast<void>(::ioctl(directory, FS_IOC_SETFLAGS, &flags));
}

}  // namespace corten::sys
