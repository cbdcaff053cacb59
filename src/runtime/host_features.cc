#include <linux/magic.h>
#include <sys/prctl.h>
#include <sys/statfs.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <charconv>

#include "runtime/compile.h"
#include "sys/files.h"
#include "sys/rlimit.h"

namespace corten::runtime {
namespace {

bool exists(const char* path) { return ::access(path, F_OK) == 0; }

// "6.18.44-fc" gives 6 << 16 | 18 << 8.
std::uint32_t running_kernel() {
  utsname names{};
  if (::uname(&names) != 0) return 0;
  const std::string_view text = names.release;
  std::uint32_t major = 0;
  std::uint32_t minor = 0;
  const auto first = std::from_chars(text.data(), text.data() + text.size(), major);
  if (first.ec != std::errc() || first.ptr == text.data() + text.size() || *first.ptr != '.') return 0;
  std::from_chars(first.ptr + 1, text.data() + text.size(), minor);
  return major << 16 | minor << 8;
}

bool root_on_ramfs() {
  struct statfs status{};
  if (::statfs("/", &status) != 0) return false;
  const auto type = static_cast<std::uint64_t>(status.f_type) & 0xffffffffU;
  if (type != RAMFS_MAGIC && type != TMPFS_MAGIC) return false;
  // A tmpfs that something was pivoted to is an ordinary root; only the kernel's own first mount, called "rootfs", is
  // not.
  const auto mounts = sys::read_file("/proc/self/mounts");
  return mounts && mounts->starts_with("rootfs / rootfs");
}

std::int32_t own_oom_score() {
  const auto text = sys::read_file("/proc/self/oom_score_adj");
  std::int32_t value = 0;
  if (text) std::from_chars(text->data(), text->data() + text->size(), value);
  return value;
}

}  // namespace

Result<HostFeatures> detect_host() {
  HostFeatures host;
  host.capabilities = sys::all_capabilities();
  const auto own = TRY(sys::current_capabilities());
  host.own_bounding = own.bounding & own.permitted;
  host.can_raise_limits = (own.effective & sys::capability_bit(24)) != 0;  // CAP_SYS_RESOURCE
  for (int resource = 0; resource < 16; ++resource) {
    const auto limit = TRY(sys::get_rlimit(resource));
    host.rlimits[static_cast<std::size_t>(resource)] = {resource, limit.soft, limit.hard};
  }
  host.own_oom_score_adj = own_oom_score();
  const auto apparmor = sys::read_file("/sys/module/apparmor/parameters/enabled");
  host.apparmor = apparmor && apparmor->starts_with('Y');
  host.selinux = exists("/sys/fs/selinux/enforce");
  host.seccomp = ::prctl(PR_GET_SECCOMP, 0, 0, 0, 0) >= 0;
  host.time_namespace = exists("/proc/self/ns/time");
  host.cgroup_namespace = exists("/proc/self/ns/cgroup");
  host.root_is_ramfs = root_on_ramfs();
  host.kernel_version = running_kernel();
  host.cgroups = TRY(sys::CgroupHost::detect());
  return host;
}

}  // namespace corten::runtime
