#include "sys/seccomp.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace corten::sys {

Result<UniqueFd> load_seccomp_filter(std::span<const std::uint8_t> program, std::uint32_t flags) {
  const std::size_t count = program.size() / sizeof(sock_filter);
  if (count == 0 || count > BPF_MAXINSNS || program.size() % sizeof(sock_filter) != 0)
    return fail(ErrorKind::invalid, "seccomp filter: {} bytes are not 1 to {} instructions", program.size(),
                BPF_MAXINSNS);
  sock_fprog filter{};
  filter.len = static_cast<unsigned short>(count);
  // The kernel only reads it.
  filter.filter = reinterpret_cast<sock_filter*>(const_cast<std::uint8_t*>(program.data()));
  const long result = ::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &filter);
  if (result < 0) return sys_fail("load the seccomp filter");
  if ((flags & SECCOMP_FILTER_FLAG_NEW_LISTENER) != 0) return UniqueFd(static_cast<int>(result));
  return UniqueFd();
}

}  // namespace corten::sys
