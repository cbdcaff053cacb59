#include "sys/capability.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>

#include "base/unique_fd.h"

namespace corten::sys {
namespace {

constexpr std::array<std::string_view, last_known_capability + 1> names{"CAP_CHOWN",
                                                                        "CAP_DAC_OVERRIDE",
                                                                        "CAP_DAC_READ_SEARCH",
                                                                        "CAP_FOWNER",
                                                                        "CAP_FSETID",
                                                                        "CAP_KILL",
                                                                        "CAP_SETGID",
                                                                        "CAP_SETUID",
                                                                        "CAP_SETPCAP",
                                                                        "CAP_LINUX_IMMUTABLE",
                                                                        "CAP_NET_BIND_SERVICE",
                                                                        "CAP_NET_BROADCAST",
                                                                        "CAP_NET_ADMIN",
                                                                        "CAP_NET_RAW",
                                                                        "CAP_IPC_LOCK",
                                                                        "CAP_IPC_OWNER",
                                                                        "CAP_SYS_MODULE",
                                                                        "CAP_SYS_RAWIO",
                                                                        "CAP_SYS_CHROOT",
                                                                        "CAP_SYS_PTRACE",
                                                                        "CAP_SYS_PACCT",
                                                                        "CAP_SYS_ADMIN",
                                                                        "CAP_SYS_BOOT",
                                                                        "CAP_SYS_NICE",
                                                                        "CAP_SYS_RESOURCE",
                                                                        "CAP_SYS_TIME",
                                                                        "CAP_SYS_TTY_CONFIG",
                                                                        "CAP_MKNOD",
                                                                        "CAP_LEASE",
                                                                        "CAP_AUDIT_WRITE",
                                                                        "CAP_AUDIT_CONTROL",
                                                                        "CAP_SETFCAP",
                                                                        "CAP_MAC_OVERRIDE",
                                                                        "CAP_MAC_ADMIN",
                                                                        "CAP_SYSLOG",
                                                                        "CAP_WAKE_ALARM",
                                                                        "CAP_BLOCK_SUSPEND",
                                                                        "CAP_AUDIT_READ",
                                                                        "CAP_PERFMON",
                                                                        "CAP_BPF",
                                                                        "CAP_CHECKPOINT_RESTORE"};

// PR_CAPBSET_READ says EINVAL for a capability that the kernel does not have, so the last one can be found without
// /proc.
int kernel_last_capability() {
  for (int bit = 63; bit >= 0; --bit)
    if (::prctl(PR_CAPBSET_READ, bit, 0, 0, 0) >= 0) return bit;
  return -1;
}

struct CapData {
  std::array<__user_cap_data_struct, 2> words{};
  void set(std::uint64_t effective, std::uint64_t permitted, std::uint64_t inheritable) {
    for (std::size_t i = 0; i < 2; ++i) {
      words[i].effective = static_cast<std::uint32_t>(effective >> (32 * i));
      words[i].permitted = static_cast<std::uint32_t>(permitted >> (32 * i));
      words[i].inheritable = static_cast<std::uint32_t>(inheritable >> (32 * i));
    }
  }
};

std::uint64_t joined(std::uint32_t low, std::uint32_t high) { return std::uint64_t{high} << 32 | low; }

}  // namespace

CapabilityMask all_capabilities() {
  const int last = kernel_last_capability();
  return last >= 63 ? ~CapabilityMask{0} : capability_bit(last + 1) - 1;
}

Result<int> capability_from_name(std::string_view name) {
  std::string upper(name);
  std::ranges::transform(upper, upper.begin(),
                         [](unsigned char c) { return static_cast<char>(c >= 'a' && c <= 'z' ? c - 32 : c); });
  if (!upper.starts_with("CAP_")) upper.insert(0, "CAP_");
  const auto found = std::ranges::find(names, upper);
  if (found == names.end()) return fail(ErrorKind::invalid, "unknown capability: \"{}\"", name);
  return static_cast<int>(found - names.begin());
}

std::string_view capability_name(int bit) {
  return bit >= 0 && bit <= last_known_capability ? names[static_cast<std::size_t>(bit)] : std::string_view{};
}

std::vector<std::string> capability_names(CapabilityMask mask) {
  std::vector<std::string> result;
  for (int bit = 0; bit <= last_known_capability; ++bit)
    if ((mask & capability_bit(bit)) != 0) result.emplace_back(capability_name(bit));
  return result;
}

Result<CapabilitySets> current_capabilities() {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  CapData data;
  if (::syscall(SYS_capget, &header, data.words.data()) != 0) return sys_fail("read capabilities");
  CapabilitySets sets;
  sets.effective = joined(data.words[0].effective, data.words[1].effective);
  sets.permitted = joined(data.words[0].permitted, data.words[1].permitted);
  sets.inheritable = joined(data.words[0].inheritable, data.words[1].inheritable);
  for (int bit = 0; bit < 64; ++bit) {
    const int bounding = ::prctl(PR_CAPBSET_READ, bit, 0, 0, 0);
    if (bounding < 0) break;
    if (bounding == 1) sets.bounding |= capability_bit(bit);
    if (::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, bit, 0, 0) == 1) sets.ambient |= capability_bit(bit);
  }
  return sets;
}

Result<> drop_bounding(CapabilityMask keep) {
  for (int bit = 0; bit < 64; ++bit) {
    if ((keep & capability_bit(bit)) != 0) continue;
    if (::prctl(PR_CAPBSET_DROP, bit, 0, 0, 0) != 0) {
      if (errno == EINVAL) break;  // past the kernel's last capability
      return sys_fail("drop {} from the bounding set", capability_name(bit));
    }
  }
  return {};
}

Result<> set_capabilities(const CapabilitySets& sets) {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  CapData data;
  data.set(sets.effective, sets.permitted, sets.inheritable);
  if (::syscall(SYS_capset, &header, data.words.data()) != 0) return sys_fail("set capabilities");
  return {};
}

Result<> raise_permitted() {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  CapData data;
  if (::syscall(SYS_capget, &header, data.words.data()) != 0) return sys_fail("read capabilities");
  for (auto& word : data.words) word.effective = word.permitted;
  if (::syscall(SYS_capset, &header, data.words.data()) != 0) return sys_fail("raise capabilities");
  return {};
}

Result<> set_ambient(CapabilityMask mask) {
  if (::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) != 0) return sys_fail("clear ambient capabilities");
  for (int bit = 0; bit < 64; ++bit)
    if ((mask & capability_bit(bit)) != 0 && ::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, bit, 0, 0) != 0)
      return sys_fail("raise ambient {}", capability_name(bit));
  return {};
}

}  // namespace corten::sys
