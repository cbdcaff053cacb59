#include "engine/devices.h"

#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <filesystem>

namespace corten::engine {
namespace {

namespace fs = std::filesystem;

constexpr int max_device_depth = 8;

struct NumberRule {
  char type;
  std::int64_t major;  // -1: any
  std::int64_t minor;
  std::string_view access;
};
// What every container may do: make any node (it cannot open it), use the harmless ones and its terminals.
constexpr std::array<NumberRule, 11> default_rules{{{'c', -1, -1, "m"},
                                                    {'b', -1, -1, "m"},
                                                    {'c', 1, 3, "rwm"},
                                                    {'c', 1, 5, "rwm"},
                                                    {'c', 1, 7, "rwm"},
                                                    {'c', 1, 8, "rwm"},
                                                    {'c', 1, 9, "rwm"},
                                                    {'c', 5, 0, "rwm"},
                                                    {'c', 5, 1, "rwm"},
                                                    {'c', 5, 2, "rwm"},
                                                    {'c', 136, -1, "rwm"}}};

oci::DeviceRule to_rule(const NumberRule& number) {
  oci::DeviceRule rule;
  rule.allow = true;
  rule.type = std::string(1, number.type);
  if (number.major >= 0) rule.major = number.major;
  if (number.minor >= 0) rule.minor = number.minor;
  rule.access = number.access;
  return rule;
}

std::unexpected<Error> no_device(const std::string& path, std::string_view why) {
  return fail(ErrorKind::invalid, "error gathering device information while adding custom device \"{}\": {}", path,
              why);
}

oci::Device to_node(const struct stat& status, std::string path) {
  oci::Device node;
  node.path = std::move(path);
  node.type = S_ISBLK(status.st_mode) ? "b" : "c";
  node.major = major(status.st_rdev);
  node.minor = minor(status.st_rdev);
  node.file_mode = status.st_mode & 07777;
  node.uid = status.st_uid;
  node.gid = status.st_gid;
  return node;
}

bool is_device(mode_t mode) { return S_ISBLK(mode) || S_ISCHR(mode); }

// The device at `host_path`, or those below it when it is a directory.
Result<> collect(const std::string& host_path, const std::string& container_path, int depth,
                 std::vector<oci::Device>& nodes) {
  struct stat status{};
  if (stat(host_path.c_str(), &status) != 0) return no_device(host_path, errno_text(errno));
  if (is_device(status.st_mode)) {
    nodes.push_back(to_node(status, container_path));
    return {};
  }
  if (!S_ISDIR(status.st_mode)) return no_device(host_path, "not a device node");
  if (depth >= max_device_depth) return {};
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(host_path, error)) {
    const std::string name = entry.path().filename();
    if (lstat(entry.path().c_str(), &status) != 0) continue;
    if (is_device(status.st_mode) || S_ISDIR(status.st_mode))
      CHECK(collect(entry.path(), fmt::format("{}/{}", container_path, name), depth + 1, nodes));
  }
  return {};
}

Result<> add_custom(const spec::DeviceMapping& mapping, DeviceAccess& access) {
  const std::string& target = mapping.path_in_container.empty() ? mapping.path_on_host : mapping.path_in_container;
  if (target.empty() || target[0] != '/')
    return no_device(mapping.path_on_host, "the path in the container is not absolute");
  const std::string permissions = mapping.cgroup_permissions.empty() ? "rwm" : mapping.cgroup_permissions;
  if (permissions.find_first_not_of("rwm") != std::string::npos)
    return fail(ErrorKind::invalid, "invalid device mode: {}", permissions);
  std::vector<oci::Device> nodes;
  CHECK(collect(mapping.path_on_host, target, 0, nodes));
  if (nodes.empty()) return no_device(mapping.path_on_host, "not a device node");
  for (oci::Device& node : nodes) {
    access.rules.push_back(to_rule({node.type[0], node.major, node.minor, permissions}));
    access.nodes.push_back(std::move(node));
  }
  return {};
}

bool take_number(std::string_view& text, std::optional<std::int64_t>& number) {
  if (text.starts_with('*')) {
    text.remove_prefix(1);
    return true;
  }
  std::uint32_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc()) return false;
  number = value;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return true;
}

// "c 1:3 rwm"
Result<oci::DeviceRule> parse_rule(const std::string& text) {
  const auto bad = [&] { return fail(ErrorKind::invalid, "invalid device cgroup rule format: '{}'", text); };
  if (text.size() < 2 || std::string_view("abc").find(text[0]) == std::string_view::npos || text[1] != ' ')
    return bad();
  oci::DeviceRule rule;
  rule.allow = true;
  rule.type = text.substr(0, 1);
  std::string_view rest = std::string_view(text).substr(2);
  if (!take_number(rest, rule.major) || !rest.starts_with(':')) return bad();
  rest.remove_prefix(1);
  if (!take_number(rest, rule.minor) || !rest.starts_with(' ')) return bad();
  rest.remove_prefix(1);
  if (rest.empty() || rest.size() > 3 || rest.find_first_not_of("rwm") != std::string_view::npos) return bad();
  rule.access = rest;
  return rule;
}

Result<dev_t> block_device_number(const std::string& path) {
  struct stat status{};
  if (stat(path.c_str(), &status) != 0) return sys_fail("block device {}", path);
  if (!S_ISBLK(status.st_mode)) return fail(ErrorKind::invalid, "{} is not a block device", path);
  return status.st_rdev;
}

Result<std::vector<oci::BlockIoThrottle>> throttles(const std::vector<spec::ThrottleDevice>& devices) {
  std::vector<oci::BlockIoThrottle> result;
  for (const spec::ThrottleDevice& device : devices) {
    const dev_t number = TRY(block_device_number(device.path));
    result.push_back({major(number), minor(number), device.rate});
  }
  return result;
}

}  // namespace

Result<DeviceAccess> device_access(const spec::HostConfig& host) {
  DeviceAccess access;
  if (host.privileged) {
    oci::DeviceRule everything;
    everything.allow = true;
    everything.type = "a";
    everything.access = "rwm";
    access.rules.push_back(everything);
    std::vector<oci::Device> nodes;
    CHECK(collect("/dev", "/dev", 0, nodes));
    // The container's own terminals and their multiplexer are in its devpts; its shm and mqueue are mounts.
    std::erase_if(nodes, [](const oci::Device& node) {
      return node.path.starts_with("/dev/pts/") || node.path.starts_with("/dev/shm/") ||
             node.path.starts_with("/dev/mqueue/") || node.path == "/dev/ptmx" || node.path == "/dev/console";
    });
    access.nodes = std::move(nodes);
    return access;
  }
  oci::DeviceRule nothing;
  nothing.allow = false;
  nothing.access = "rwm";
  access.rules.push_back(nothing);
  for (const NumberRule& rule : default_rules) access.rules.push_back(to_rule(rule));
  for (const spec::DeviceMapping& mapping : host.devices) CHECK(add_custom(mapping, access));
  for (const std::string& text : host.device_cgroup_rules) access.rules.push_back(TRY(parse_rule(text)));
  return access;
}

Result<std::optional<oci::BlockIoResources>> block_io(const spec::HostConfig& host) {
  oci::BlockIoResources io;
  if (host.blkio_weight != 0) io.weight = host.blkio_weight;
  for (const spec::WeightDevice& device : host.blkio_weight_device) {
    const dev_t number = TRY(block_device_number(device.path));
    oci::BlockIoWeight weight;
    weight.major = major(number);
    weight.minor = minor(number);
    weight.weight = device.weight;
    io.weight_device.push_back(weight);
  }
  io.throttle_read_bps_device = TRY(throttles(host.blkio_device_read_bps));
  io.throttle_write_bps_device = TRY(throttles(host.blkio_device_write_bps));
  io.throttle_read_iops_device = TRY(throttles(host.blkio_device_read_iops));
  io.throttle_write_iops_device = TRY(throttles(host.blkio_device_write_iops));
  return io;
}

}  // namespace corten::engine
