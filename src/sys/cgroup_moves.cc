#include "sys/cgroup_moves.h"

#include <fcntl.h>
#include <linux/mount.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <charconv>
#include <chrono>
#include <string>
#include <string_view>

#include "sys/cgroup_files.h"

namespace corten::sys {

namespace {

struct KernelVersion {
  int major = 0;
  int minor = 0;
  auto operator<=>(const KernelVersion&) const = default;
};

KernelVersion running_kernel() {
  utsname names{};
  if (::uname(&names) != 0) return {};
  const std::string_view release = names.release;
  KernelVersion version;
  const char* const end = release.data() + release.size();
  const auto [at, error] = std::from_chars(release.data(), end, version.major);
  if (error == std::errc{} && at < end && *at == '.') std::from_chars(at + 1, end, version.minor);
  return version;
}

bool kernel_offers_switch() {
  const auto directory = cgroup_files::open_directory("/sys/kernel/cgroup");
  if (!directory) return false;
  const auto features = cgroup_files::read_at(directory->get(), "features");
  return features && features->find("favordynmods") != std::string::npos;
}

int fsconfig(int context, unsigned command, const char* key, const char* value) {
  return static_cast<int>(::syscall(SYS_fsconfig, context, command, key, value, 0));
}

// Never used before: a hierarchy of the same name would be joined with its flags as they are, or is still being torn
// down.
std::string new_name() {
  return fmt::format("corten-{}-{:x}", ::getpid(), std::chrono::steady_clock::now().time_since_epoch().count());
}

Result<UniqueFd> mount_named_hierarchy(const std::string& name) {
  const UniqueFd context(static_cast<int>(::syscall(SYS_fsopen, "cgroup", FSOPEN_CLOEXEC)));
  if (!context) return sys_fail("open a cgroup file system context");
  if (fsconfig(context.get(), FSCONFIG_SET_FLAG, "none", nullptr) != 0 ||
      fsconfig(context.get(), FSCONFIG_SET_STRING, "name", name.c_str()) != 0 ||
      fsconfig(context.get(), FSCONFIG_SET_FLAG, "favordynmods", nullptr) != 0 ||
      fsconfig(context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr) != 0)
    return sys_fail("make cgroup hierarchy {} with favordynmods", name);
  UniqueFd mount(static_cast<int>(::syscall(SYS_fsmount, context.get(), FSMOUNT_CLOEXEC, 0)));
  if (!mount) return sys_fail("mount cgroup hierarchy {}", name);
  return mount;
}

}  // namespace

Result<FastCgroupMoves> FastCgroupMoves::enable() {
  if (!kernel_offers_switch())
    return fail(ErrorKind::unavailable, "this kernel has no favordynmods switch for cgroup hierarchies");
  FastCgroupMoves moves;
  moves.mount_ = TRY(mount_named_hierarchy(new_name()));
  // From 6.18 on the switch to one lock for each thread group is one-way, and without the hierarchy the lock's readers
  // are fast again.
  if (running_kernel() >= KernelVersion{6, 18}) moves.mount_.reset();
  return moves;
}

}  // namespace corten::sys
