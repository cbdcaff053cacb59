#include "cli/resource_options.h"

#include <array>
#include <charconv>

#include "gotemplate/value.h"

namespace corten::cli {
namespace {

constexpr std::array<std::string_view, 15> ulimit_names{"core",    "cpu",      "data",   "fsize",      "locks",
                                                        "memlock", "msgqueue", "nice",   "nofile",     "nproc",
                                                        "rss",     "rtprio",   "rttime", "sigpending", "stack"};

bool read_number(std::string_view text, std::uint64_t& out) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  return error == std::errc() && end == text.data() + text.size();
}

bool valid_permissions(std::string_view mode) {
  bool seen[3] = {};
  for (const char c : mode) {
    const auto at = std::string_view("rwm").find(c);
    if (at == std::string_view::npos || seen[at]) return false;
    seen[at] = true;
  }
  return !mode.empty();
}

}  // namespace

Result<spec::Ulimit> parse_ulimit(std::string_view text) {
  const auto equals = text.find('=');
  if (equals == std::string_view::npos) return fail(ErrorKind::invalid, "invalid ulimit argument: {}", text);
  spec::Ulimit limit;
  limit.name = text.substr(0, equals);
  if (std::find(ulimit_names.begin(), ulimit_names.end(), limit.name) == ulimit_names.end()) {
    return fail(ErrorKind::invalid, "invalid ulimit type: {}", limit.name);
  }
  const std::string_view values = text.substr(equals + 1);
  const auto colon = values.find(':');
  if (colon != std::string_view::npos && values.find(':', colon + 1) != std::string_view::npos) {
    return fail(ErrorKind::invalid, "too many limit value arguments - {}, can only have up to two, `soft[:hard]`",
                values);
  }
  limit.soft = limit.hard = TRY(parse_go_int(values.substr(0, colon)));
  if (colon != std::string_view::npos) {
    limit.hard = TRY(parse_go_int(values.substr(colon + 1)));
    if (limit.hard != -1 && limit.soft == -1) {
      return fail(ErrorKind::invalid,
                  "ulimit soft limit must be less than or equal to hard limit: soft: -1 (unlimited), hard: {}",
                  limit.hard);
    }
    if (limit.hard != -1 && limit.soft > limit.hard) {
      return fail(ErrorKind::invalid, "ulimit soft limit must be less than or equal to hard limit: {} > {}", limit.soft,
                  limit.hard);
    }
  }
  return limit;
}

Result<spec::WeightDevice> parse_weight_device(std::string_view text) {
  const auto colon = text.find(':');
  if (colon == std::string_view::npos || colon == 0) return fail(ErrorKind::invalid, "bad format: {}", text);
  if (!text.starts_with("/dev/")) return fail(ErrorKind::invalid, "bad format for device path: {}", text);
  std::uint64_t weight = 0;
  if (!read_number(text.substr(colon + 1), weight) || weight > 1000 || (weight > 0 && weight < 10)) {
    return fail(ErrorKind::invalid, "invalid weight for device: {}", text);
  }
  return spec::WeightDevice{std::string(text.substr(0, colon)), static_cast<std::uint16_t>(weight)};
}

Result<spec::ThrottleDevice> parse_throttle(std::string_view text, bool bytes) {
  const auto colon = text.find(':');
  if (colon == std::string_view::npos || colon == 0) return fail(ErrorKind::invalid, "bad format: {}", text);
  if (!text.starts_with("/dev/")) return fail(ErrorKind::invalid, "bad format for device path: {}", text);
  spec::ThrottleDevice device{std::string(text.substr(0, colon)), 0};
  const std::string_view number = text.substr(colon + 1);
  if (bytes) {
    const auto rate = parse_bytes(number);
    if (!rate) {
      return fail(ErrorKind::invalid,
                  "invalid rate for device: {}. The correct format is <device-path>:<number>[<unit>]. Number must be a "
                  "positive integer. Unit is optional and can be kb, mb, or gb",
                  text);
    }
    device.rate = static_cast<std::uint64_t>(*rate);
  } else if (!read_number(number, device.rate)) {
    return fail(
        ErrorKind::invalid,
        "invalid rate for device: {}. The correct format is <device-path>:<number>. Number must be a positive integer",
        text);
  }
  return device;
}

Result<spec::RestartPolicy> parse_restart_policy(std::string_view text) {
  spec::RestartPolicy policy;
  if (text.empty()) return policy;
  const auto colon = text.find(':');
  policy.name = text.substr(0, colon);
  if (policy.name.empty())
    return fail(ErrorKind::invalid, "invalid restart policy format: no policy provided before colon");
  if (colon != std::string_view::npos) {
    const auto count = parse_go_int(text.substr(colon + 1));
    if (!count || *count > INT32_MAX || *count < INT32_MIN) {
      return fail(ErrorKind::invalid, "invalid restart policy format: maximum retry count must be an integer");
    }
    policy.maximum_retry_count = static_cast<int>(*count);
  }
  return policy;
}

Result<spec::DeviceMapping> parse_device(std::string_view text) {
  std::vector<std::string_view> parts;
  for (std::string_view rest = text;;) {
    const auto colon = rest.find(':');
    parts.push_back(rest.substr(0, colon));
    if (colon == std::string_view::npos) break;
    rest.remove_prefix(colon + 1);
  }
  const auto absolute = [](std::string_view path) { return path.starts_with('/'); };
  if (text.empty() || parts.size() > 3) return fail(ErrorKind::invalid, "bad format for path: {}", text);
  if (parts[0].empty()) return fail(ErrorKind::invalid, "bad format for path: {}", text);
  spec::DeviceMapping mapping;
  mapping.path_on_host = parts[0];
  mapping.path_in_container = parts[0];
  mapping.cgroup_permissions = "rwm";
  if (parts.size() == 3) {
    if (!valid_permissions(parts[2])) return fail(ErrorKind::invalid, "bad mode specified: {}", parts[2]);
    mapping.path_in_container = parts[1];
    mapping.cgroup_permissions = parts[2];
  } else if (parts.size() == 2) {
    if (valid_permissions(parts[1])) {
      mapping.cgroup_permissions = parts[1];
    } else {
      mapping.path_in_container = parts[1];
    }
  }
  if (!absolute(mapping.path_in_container)) {
    return fail(ErrorKind::invalid, "{} is not an absolute path", mapping.path_in_container);
  }
  return mapping;
}

Result<> read_limits(const FlagValues& flags, spec::Resources& out) {
  out.blkio_weight = static_cast<std::uint16_t>(flags.integer("blkio-weight"));
  out.cpu_period = flags.integer("cpu-period");
  out.cpu_quota = flags.integer("cpu-quota");
  out.cpu_realtime_period = flags.integer("cpu-rt-period");
  out.cpu_realtime_runtime = flags.integer("cpu-rt-runtime");
  out.cpu_shares = flags.integer("cpu-shares");
  if (flags.changed("cpus")) out.nano_cpus = flags.nano_cpus("cpus");
  out.cpuset_cpus = flags.string("cpuset-cpus");
  out.cpuset_mems = flags.string("cpuset-mems");
  if (flags.changed("memory")) out.memory = flags.bytes("memory");
  if (flags.changed("memory-reservation")) out.memory_reservation = flags.bytes("memory-reservation");
  if (flags.changed("memory-swap")) out.memory_swap = flags.bytes("memory-swap");
  if (flags.changed("pids-limit")) out.pids_limit = flags.integer("pids-limit");
  return {};
}

}  // namespace corten::cli
