// A seccomp filter as BPF, made for quick loading. Private to runtime's compile half.
//
// The kernel compiles a filter to machine code when it is loaded, at each start of a container, in time proportional to
// its length; and it runs the filter once for each call number to learn which calls are always allowed, which then
// never reach the filter. So the filter is a binary search over ranges of numbers with the same verdict, using only
// instructions that this dry run understands.
#pragma once

#include <linux/filter.h>

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <vector>

namespace corten::runtime {

enum class Comparison : std::uint8_t { equal, not_equal, less, less_or_equal, greater, greater_or_equal, masked_equal };

struct FilterCondition {
  std::uint32_t argument = 0;  // 0 to 5
  Comparison comparison = Comparison::equal;
  std::uint64_t value = 0;  // masked_equal: (argument & mask) == value
  std::uint64_t mask = 0;
};

// All conditions hold: `action` (SECCOMP_RET_*).
struct FilterRule {
  std::vector<FilterCondition> conditions;
  std::uint32_t action = 0;
};

// What becomes of one system call: the first rule that holds, else `action`, else the filter's default.
struct FilterCall {
  std::vector<FilterRule> rules;
  std::optional<std::uint32_t> action;
};

struct FilterArch {
  std::uint32_t audit_arch = 0;  // AUDIT_ARCH_*
  bool x32 = false;              // numbers with bit 30, under AUDIT_ARCH_X86_64
  bool wide = true;              // arguments are 64 bits wide
  std::map<std::uint32_t, FilterCall> calls;
  // Numbers above it give ENOSYS if `unknown_action` of the filter is set; 0: none do.
  std::uint32_t newest = 0;
};

struct Filter {
  std::vector<FilterArch> arches;
  std::uint32_t default_action = 0;
  std::uint32_t foreign_arch_action = 0;        // calls of an architecture that is not listed
  std::optional<std::uint32_t> unknown_action;  // calls newer than `newest`
};

std::vector<sock_filter> build_filter(const Filter& filter);

}  // namespace corten::runtime
