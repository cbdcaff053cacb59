// Which devices the processes of a cgroup may open and make: the devices controller on v1, a BPF program on v2.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "sys/cgroup_dir.h"

namespace corten::sys {

enum class DeviceType : std::uint8_t { all, block, character };

// As linux/bpf.h numbers them.
inline constexpr std::uint8_t device_mknod = 1;
inline constexpr std::uint8_t device_read = 2;
inline constexpr std::uint8_t device_write = 4;
inline constexpr std::uint8_t device_any_access = 7;

struct DeviceAccessRule {
  bool allow = false;
  DeviceType type = DeviceType::all;
  std::optional<std::uint32_t> major;  // absent: any
  std::optional<std::uint32_t> minor;
  std::uint8_t access = device_any_access;
  bool operator==(const DeviceAccessRule&) const = default;
};

// Docker's and the kernel's text: "c 1:3 rwm", "b *:* r", "a". `invalid` says what is wrong with it.
Result<DeviceAccessRule> parse_device_rule(std::string_view text);
std::string format_device_rule(const DeviceAccessRule& rule);

// Later rules win over earlier ones; what no rule speaks of is denied.

// The writes for a v1 group.
std::vector<CgroupSetting> device_settings_v1(const std::vector<DeviceAccessRule>& rules);
// The instructions (struct bpf_insn) of the program for a v2 group.
std::vector<std::uint64_t> device_program(const std::vector<DeviceAccessRule>& rules);

// Puts the rules in force on a group, in place of earlier ones. `unavailable` if the group has neither a devices
// controller nor a v2 directory.
Result<> set_device_rules(const CgroupDir& group, const std::vector<DeviceAccessRule>& rules);
// The v2 way, for a directory of a v2 tree.
Result<> attach_device_program(int v2_directory, const std::vector<DeviceAccessRule>& rules);

}  // namespace corten::sys
