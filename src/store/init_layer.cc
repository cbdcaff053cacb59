#include "store/init_layer.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace corten::store {

Result<UniqueFd> make_directory(int parent, const std::string& name, mode_t mode) {
  if (::mkdirat(parent, name.c_str(), mode) != 0 && errno != EEXIST) return sys_fail("create {}", name);
  UniqueFd fd(::openat(parent, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!fd) return sys_fail("open {}", name);
  return fd;
}

Result<> make_init_layer(int base) {
  const UniqueFd init = TRY(make_directory(base, layout::init_directory, 0700));
  for (const char* name : {"empty", "mnt"}) CHECK(make_directory(init.get(), name, 0755));
  const UniqueFd files = TRY(make_directory(init.get(), layout::files_directory, 0755));
  if (::fchmod(files.get(), 0755) != 0) return sys_fail("set the mode of the init layer");
  for (const char* name : {"dev", "dev/pts", "dev/shm", "etc", "proc", "sys"})
    CHECK(make_directory(files.get(), name, 0755));
  for (const char* name : {".dockerenv", "dev/console", "etc/hostname", "etc/hosts", "etc/resolv.conf"}) {
    const UniqueFd file(::openat(files.get(), name, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0755));
    if (!file || ::fchmod(file.get(), 0755) != 0) return sys_fail("create {} of the init layer", name);
  }
  if (::symlinkat("/proc/mounts", files.get(), "etc/mtab") != 0 && errno != EEXIST)
    return sys_fail("create etc/mtab of the init layer");
  return {};
}

}  // namespace corten::store
