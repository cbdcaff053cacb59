#include <algorithm>

#include "runtime/cgroup_plan.h"

namespace corten::runtime {

namespace {

using sys::DeviceAccessRule;
using sys::DeviceType;

Result<std::uint8_t> parse_access(std::string_view access) {
  if (access.empty()) return sys::device_any_access;
  std::uint8_t mask = 0;
  for (const char letter : access) {
    switch (letter) {
      case 'r': mask |= sys::device_read; break;
      case 'w': mask |= sys::device_write; break;
      case 'm': mask |= sys::device_mknod; break;
      default:
        return fail(ErrorKind::invalid, "linux.resources.devices: access \"{}\" must be made of r, w and m", access);
    }
  }
  return mask;
}

Result<std::optional<std::uint32_t>> parse_device_number(const std::optional<std::int64_t>& number) {
  if (!number || *number == -1) return std::nullopt;
  if (*number < 0 || *number > 0xffff'ffff)
    return fail(ErrorKind::invalid, "linux.resources.devices: {} is not a device number", *number);
  return static_cast<std::uint32_t>(*number);
}

Result<DeviceAccessRule> convert_rule(const oci::DeviceRule& rule) {
  DeviceAccessRule out{.allow = rule.allow};
  if (rule.type == "c" || rule.type == "u") {
    out.type = DeviceType::character;
  } else if (rule.type == "b") {
    out.type = DeviceType::block;
  } else if (!rule.type.empty() && rule.type != "a") {
    return fail(ErrorKind::invalid, "linux.resources.devices: \"{}\" is not a device type", rule.type);
  }
  out.major = TRY(parse_device_number(rule.major));
  out.minor = TRY(parse_device_number(rule.minor));
  out.access = TRY(parse_access(rule.access));
  return out;
}

void add_usual_devices(std::vector<DeviceAccessRule>& rules) {
  const auto any = std::optional<std::uint32_t>();
  const std::uint8_t all = sys::device_any_access;
  const DeviceAccessRule usual[] = {
      {true, DeviceType::character, any, any, sys::device_mknod},
      {true, DeviceType::block, any, any, sys::device_mknod},
      {true, DeviceType::character, 1, 3, all},      // null
      {true, DeviceType::character, 1, 5, all},      // zero
      {true, DeviceType::character, 1, 7, all},      // full
      {true, DeviceType::character, 1, 8, all},      // random
      {true, DeviceType::character, 1, 9, all},      // urandom
      {true, DeviceType::character, 5, 0, all},      // tty
      {true, DeviceType::character, 5, 1, all},      // console
      {true, DeviceType::character, 5, 2, all},      // ptmx
      {true, DeviceType::character, 136, any, all},  // pts
  };
  for (const DeviceAccessRule& rule : usual)
    if (std::ranges::find(rules, rule) == rules.end()) rules.push_back(rule);
}

}  // namespace

Result<std::vector<sys::DeviceAccessRule>> plan_devices(const std::vector<oci::DeviceRule>& rules) {
  std::vector<DeviceAccessRule> out;
  bool everything = false;
  for (const oci::DeviceRule& rule : rules) {
    out.push_back(TRY(convert_rule(rule)));
    const DeviceAccessRule& last = out.back();
    if (last.type == DeviceType::all && !last.major && !last.minor && last.access == sys::device_any_access)
      everything = last.allow;
  }
  if (!everything) add_usual_devices(out);
  return out;
}

}  // namespace corten::runtime
