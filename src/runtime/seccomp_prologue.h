// What goes before libseccomp's filter: calls newer than that library, and ENOSYS for calls newer than the profile. Private to runtime's
// compile half.
//
// A program that tries a new system call falls back to an old one on ENOSYS, but takes EPERM as an answer. A profile written before the call
// existed denies it with EPERM by default; so everything above the highest number that the profile names gives ENOSYS.
#pragma once

#include <linux/filter.h>

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace corten::runtime {

// Calls added after libseccomp 2.5.4's tables; since Linux 5.1 all architectures give new calls the same number.
std::optional<std::uint32_t> number_of_new_call(std::string_view name);

struct SeccompPrologue {
  struct Arch {
    std::uint32_t token = 0;       // SCMP_ARCH_*, which is AUDIT_ARCH_*
    std::uint32_t newest = 0;      // the highest number that the profile names
  };
  struct Decision {
    std::uint32_t number = 0;
    std::uint32_t action = 0;  // SECCOMP_RET_*
  };
  SeccompPrologue();

  std::array<Arch, 2> arches;  // the native one and its 32-bit sibling
  std::vector<Decision> decisions;

  std::vector<sock_filter> instructions(bool with_enosys) const;
};

}  // namespace corten::runtime
