#include "engine/limits.h"

#include <sched.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <fstream>
#include <thread>

#include "sys/capability.h"
#include "sys/rlimit.h"

namespace corten::engine {
namespace {

constexpr std::int64_t minimum_memory = 6 << 20;
constexpr unsigned highest_cpu = 8192;

using Warnings = std::vector<std::string>;

// A limit the kernel has no file for is taken out of the configuration, with Docker's sentence about it.
template <class T>
void drop_unsupported(T& value, bool supported, std::string_view sentence, Warnings& warnings) {
  if (supported || value == T{}) return;
  value = T{};
  warnings.emplace_back(sentence);
}

Result<> complete_memory(spec::HostConfig& host, const HostFeatures& features, Warnings& warnings) {
  const sys::CgroupFeatures& can = features.cgroup;
  if (host.memory < 0)
    return fail(ErrorKind::invalid, "invalid memory limit {}: want a positive number of bytes", host.memory);
  drop_unsupported(
      host.memory, can.memory_limit,
      "Your kernel does not support memory limit capabilities or the cgroup is not mounted. Limitation discarded.",
      warnings);
  if (host.memory == 0 && host.memory_swap > 0)
    return fail(ErrorKind::invalid, "You should always set the Memory limit when using Memoryswap limit, see usage");
  if (host.memory != 0 && host.memory < minimum_memory)
    return fail(ErrorKind::invalid, "Minimum memory limit allowed is 6MB");
  if (host.memory_swap > 0 && host.memory_swap < host.memory)
    return fail(ErrorKind::invalid, "Minimum memoryswap limit should be larger than memory limit, see usage");
  if (host.memory_swap < -1)
    return fail(ErrorKind::invalid, "invalid memory-swap {}: want bytes or -1", host.memory_swap);
  if (host.memory > 0 && host.memory_swap != -1 && !can.swap_limit) {
    warnings.emplace_back(
        "Your kernel does not support swap limit capabilities or the cgroup is not mounted. Memory limited without "
        "swap.");
    host.memory_swap = -1;
  }
  // Docker's default: as much swap as memory.
  if (host.memory > 0 && host.memory_swap == 0) host.memory_swap = host.memory * 2;

  if (host.memory_swappiness && *host.memory_swappiness == -1) host.memory_swappiness.reset();
  if (host.memory_swappiness) {
    if (*host.memory_swappiness < 0 || *host.memory_swappiness > 100)
      return fail(ErrorKind::invalid, "Invalid value: {}, valid memory swappiness range is 0-100",
                  *host.memory_swappiness);
    if (!can.memory_swappiness) {
      warnings.emplace_back(
          "Your kernel does not support memory swappiness capabilities or the cgroup is not mounted. Memory swappiness "
          "discarded.");
      host.memory_swappiness.reset();
    }
  }
  if (host.memory_reservation < 0)
    return fail(ErrorKind::invalid, "invalid memory reservation {}", host.memory_reservation);
  if (host.memory_reservation != 0 && host.memory_reservation < minimum_memory)
    return fail(ErrorKind::invalid, "Minimum memory reservation allowed is 6MB");
  if (host.memory > 0 && host.memory_reservation > host.memory)
    return fail(ErrorKind::invalid, "Minimum memory limit can not be less than memory reservation limit, see usage");
  drop_unsupported(
      host.memory_reservation, can.memory_reservation,
      "Your kernel does not support memory soft limit capabilities or the cgroup is not mounted. Limitation discarded.",
      warnings);
  if (host.kernel_memory != 0)
    return fail(ErrorKind::invalid, "kernel memory limits are no longer supported by Linux: leave KernelMemory out");
  drop_unsupported(host.kernel_memory_tcp, can.kernel_memory_tcp,
                   "Your kernel does not support kernel memory TCP limit capabilities or the cgroup is not mounted. "
                   "Limitation discarded.",
                   warnings);
  if (host.oom_kill_disable && *host.oom_kill_disable && !can.oom_kill_disable) {
    warnings.emplace_back("Your kernel does not support OomKillDisable. OomKillDisable discarded.");
    host.oom_kill_disable.reset();
  }
  if (host.oom_kill_disable.value_or(false) && host.memory == 0)
    warnings.emplace_back(
        "OOM killer is disabled for the container, but no memory limit is set, this can result in the system running "
        "out of resources.");
  return {};
}

Result<> complete_cpu(spec::HostConfig& host, const HostFeatures& features, Warnings& warnings) {
  const sys::CgroupFeatures& can = features.cgroup;
  if (host.nano_cpus != 0) {
    if (host.cpu_quota > 0)
      return fail(ErrorKind::invalid, "Conflicting options: Nano CPUs and CPU Quota cannot both be set");
    if (host.cpu_period > 0)
      return fail(ErrorKind::invalid, "Conflicting options: Nano CPUs and CPU Period cannot both be set");
    if (host.nano_cpus < 0 || host.nano_cpus > static_cast<std::int64_t>(features.cpus) * 1'000'000'000)
      return fail(ErrorKind::invalid, "range of CPUs is from 0.01 to {:.2f}, as there are only {} CPUs available",
                  double(features.cpus), features.cpus);
  }
  drop_unsupported(host.nano_cpus, can.cpu_cfs,
                   "Your kernel does not support CPU CFS scheduler or the cgroup is not mounted. NanoCPUs discarded.",
                   warnings);
  if (host.cpu_shares < 0)
    return fail(ErrorKind::invalid, "invalid CPU shares ({}): value must be a positive integer", host.cpu_shares);
  drop_unsupported(host.cpu_shares, can.cpu_shares,
                   "Your kernel does not support CPU shares or the cgroup is not mounted. Shares discarded.", warnings);
  if (host.cpu_period != 0 && (host.cpu_period < 1000 || host.cpu_period > 1'000'000))
    return fail(ErrorKind::invalid,
                "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)");
  if (host.cpu_quota > 0 && host.cpu_quota < 1000)
    return fail(ErrorKind::invalid, "CPU cfs quota can not be less than 1ms (i.e. 1000)");
  drop_unsupported(host.cpu_period, can.cpu_cfs,
                   "Your kernel does not support CPU CFS scheduler. CPU period/quota discarded.", warnings);
  drop_unsupported(host.cpu_quota, can.cpu_cfs,
                   "Your kernel does not support CPU CFS scheduler. CPU period/quota discarded.", warnings);
  if ((host.cpu_realtime_period != 0 || host.cpu_realtime_runtime != 0) && !can.cpu_realtime)
    return fail(ErrorKind::invalid, "Your kernel does not support CPU real-time scheduler");
  if (host.cpu_realtime_runtime > host.cpu_realtime_period && host.cpu_realtime_period != 0)
    return fail(ErrorKind::invalid, "cpu real-time runtime cannot be higher than cpu real-time period");
  return {};
}

Result<> check_cpuset(std::string_view wanted, std::string_view available, std::string_view what) {
  if (wanted.empty()) return {};
  const auto numbers = parse_cpu_list(wanted);
  if (!numbers) return fail(ErrorKind::invalid, "Invalid value {} for {}", wanted, what);
  const auto online = TRY(parse_cpu_list(available));
  for (const unsigned number : *numbers)
    if (std::ranges::find(online, number) == online.end())
      return fail(ErrorKind::invalid, "Requested {} are not available - requested {}, available: {}",
                  what == "cpuset cpus" ? "CPUs" : "memory nodes", wanted, available);
  return {};
}

Result<> complete_cpuset(spec::HostConfig& host, const HostFeatures& features, Warnings& warnings) {
  if (!features.cgroup.cpuset && (!host.cpuset_cpus.empty() || !host.cpuset_mems.empty())) {
    warnings.emplace_back("Your kernel does not support cpuset or the cgroup is not mounted. CPUset discarded.");
    host.cpuset_cpus.clear();
    host.cpuset_mems.clear();
    return {};
  }
  CHECK(check_cpuset(host.cpuset_cpus, features.online_cpus, "cpuset cpus"));
  return check_cpuset(host.cpuset_mems, features.online_mems, "cpuset mems");
}

Result<> check_block_device(const std::string& path) {
  struct stat status{};
  if (stat(path.c_str(), &status) != 0 || !S_ISBLK(status.st_mode))
    return fail(ErrorKind::invalid, "{}: is not a block device of this host", path);
  return {};
}

Result<> complete_blkio(spec::HostConfig& host, const HostFeatures& features, Warnings& warnings) {
  if (host.blkio_weight != 0 && (host.blkio_weight < 10 || host.blkio_weight > 1000))
    return fail(ErrorKind::invalid, "Range of blkio weight is from 10 to 1000");
  drop_unsupported(host.blkio_weight, !features.cgroup.blkio_weight.empty(),
                   "Your kernel does not support Block I/O weight or the cgroup is not mounted. Weight discarded.",
                   warnings);
  if (!host.blkio_weight_device.empty() && features.cgroup.blkio_weight_device.empty()) {
    warnings.emplace_back(
        "Your kernel does not support Block I/O weight_device or the cgroup is not mounted. Weight-device discarded.");
    host.blkio_weight_device.clear();
  }
  for (const spec::WeightDevice& device : host.blkio_weight_device) {
    if (device.weight < 10 || device.weight > 1000)
      return fail(ErrorKind::invalid, "Range of blkio weight is from 10 to 1000");
    CHECK(check_block_device(device.path));
  }
  const std::pair<std::vector<spec::ThrottleDevice>*, std::string_view> throttles[] = {
      {&host.blkio_device_read_bps, "BPS Block I/O read limit"},
      {&host.blkio_device_write_bps, "BPS Block I/O write limit"},
      {&host.blkio_device_read_iops, "IOPS Block read limit"},
      {&host.blkio_device_write_iops, "IOPS Block write limit"}};
  for (const auto& [list, what] : throttles) {
    if (!list->empty() && !features.cgroup.blkio_throttle) {
      warnings.push_back(
          fmt::format("Your kernel does not support {} or the cgroup is not mounted. Limit discarded.", what));
      list->clear();
    }
    for (const spec::ThrottleDevice& device : *list) CHECK(check_block_device(device.path));
  }
  return {};
}

Result<> complete_ulimits(spec::HostConfig& host, const HostFeatures& features, Warnings& warnings) {
  for (spec::Ulimit& limit : host.ulimits) {
    const auto number = sys::rlimit_from_name(limit.name);
    if (!number) return fail(ErrorKind::invalid, "invalid ulimit type: {}", limit.name);
    const auto as_rlimit = [](std::int64_t value) {
      return value < 0 ? sys::rlimit_infinity : static_cast<std::uint64_t>(value);
    };
    if (as_rlimit(limit.soft) > as_rlimit(limit.hard))
      return fail(ErrorKind::invalid, "ulimit soft limit must be less than or equal to hard limit: {} > {}", limit.soft,
                  limit.hard);
    const sys::Rlimit mine = TRY(sys::get_rlimit(*number));
    if (features.raise_rlimits || as_rlimit(limit.hard) <= mine.hard) continue;
    const auto lowered = static_cast<std::int64_t>(mine.hard);
    warnings.push_back(
        fmt::format("ulimit {}={} exceeds this daemon's own hard limit, which it has no right to raise "
                    "(CAP_SYS_RESOURCE). Lowered to {}.",
                    limit.name, limit.hard, lowered));
    limit.hard = lowered;
    if (as_rlimit(limit.soft) > mine.hard) limit.soft = lowered;
  }
  return {};
}

Result<> complete_rest(spec::HostConfig& host, const HostFeatures& features, Warnings& warnings) {
  if (host.pids_limit && *host.pids_limit > 0 && !features.cgroup.pids_limit) {
    warnings.emplace_back(
        "Your kernel does not support PIDs limit capabilities or the cgroup is not mounted. PIDs limit discarded.");
    host.pids_limit.reset();
  }
  if (host.oom_score_adj < -1000 || host.oom_score_adj > 1000)
    return fail(ErrorKind::invalid, "Invalid value {}, range for oom score adj is [-1000, 1000]", host.oom_score_adj);
  if (host.oom_score_adj < 0 && !features.lower_oom_score) {
    warnings.push_back(fmt::format(
        "oom-score-adj {} is below this daemon's own, which it has no right to go below (CAP_SYS_RESOURCE). Discarded.",
        host.oom_score_adj));
    host.oom_score_adj = 0;
  }
  return {};
}

std::string read_line(const char* path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

}  // namespace

Result<std::vector<unsigned>> parse_cpu_list(std::string_view text) {
  std::vector<unsigned> numbers;
  const std::string_view whole = text;
  const auto bad = [&] {
    return fail(ErrorKind::invalid, "invalid list \"{}\": want numbers and ranges like 0-2,7", whole);
  };
  const auto take = [&](unsigned& out) {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
    if (error != std::errc() || out >= highest_cpu) return false;
    text.remove_prefix(static_cast<std::size_t>(end - text.data()));
    return true;
  };
  while (true) {
    unsigned first = 0;
    if (!take(first)) return bad();
    unsigned last = first;
    if (text.starts_with('-')) {
      text.remove_prefix(1);
      if (!take(last) || last < first) return bad();
    }
    for (unsigned number = first; number <= last; ++number) numbers.push_back(number);
    if (text.empty()) return numbers;
    if (!text.starts_with(',')) return bad();
    text.remove_prefix(1);
  }
}

Result<> complete_limits(spec::HostConfig& host, const HostFeatures& features, Warnings& warnings) {
  CHECK(complete_memory(host, features, warnings));
  CHECK(complete_cpu(host, features, warnings));
  CHECK(complete_cpuset(host, features, warnings));
  CHECK(complete_blkio(host, features, warnings));
  CHECK(complete_ulimits(host, features, warnings));
  return complete_rest(host, features, warnings);
}

Result<std::vector<std::string>> merge_update(spec::HostConfig& current, const UpdateRequest& request,
                                              const HostFeatures& features) {
  const spec::Resources& want = request.resources;
  spec::HostConfig next = current;
  if (want.nano_cpus != 0 && (current.cpu_quota != 0 || current.cpu_period != 0))
    return fail(ErrorKind::invalid,
                "Conflicting options: Nano CPUs cannot be updated as CPU Quota/Period has already been set");
  if ((want.cpu_quota != 0 || want.cpu_period != 0) && current.nano_cpus != 0)
    return fail(ErrorKind::invalid,
                "Conflicting options: CPU Quota/Period cannot be updated as NanoCPUs has already been set");
  const auto take = [](auto& into, const auto& from) {
    if (from != std::remove_cvref_t<decltype(from)>{}) into = from;
  };
  take(next.blkio_weight, want.blkio_weight);
  take(next.cpu_shares, want.cpu_shares);
  take(next.nano_cpus, want.nano_cpus);
  take(next.cpu_period, want.cpu_period);
  take(next.cpu_quota, want.cpu_quota);
  take(next.cpu_realtime_period, want.cpu_realtime_period);
  take(next.cpu_realtime_runtime, want.cpu_realtime_runtime);
  take(next.cpuset_cpus, want.cpuset_cpus);
  take(next.cpuset_mems, want.cpuset_mems);
  take(next.memory_swap, want.memory_swap);
  take(next.memory_reservation, want.memory_reservation);
  take(next.pids_limit, want.pids_limit);
  if (want.memory != 0) {
    if (want.memory > next.memory_swap && next.memory_swap != -1 && next.memory_swap != 0 && want.memory_swap == 0)
      return fail(
          ErrorKind::invalid,
          "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time");
    next.memory = want.memory;
  }
  if (request.restart_policy && !request.restart_policy->name.empty()) {
    if (next.auto_remove && request.restart_policy->name != "no")
      return fail(ErrorKind::invalid,
                  "Restart policy cannot be updated because AutoRemove is enabled for the container");
    next.restart_policy = *request.restart_policy;
  }
  std::vector<std::string> warnings;
  CHECK(complete_limits(next, features, warnings));
  current = std::move(next);
  return warnings;
}

HostFeatures detect_host_features(const sys::CgroupHost& host, std::string_view cgroup_parent) {
  HostFeatures features;
  features.cgroup_mode = host.mode();
  if (auto found = sys::probe_cgroup_features(host, cgroup_parent)) features.cgroup = *found;
  if (const auto own = sys::current_capabilities()) {
    const int bit = *sys::capability_from_name("CAP_SYS_RESOURCE");
    features.raise_rlimits = (own->effective & sys::capability_bit(bit)) != 0;
    features.lower_oom_score = features.raise_rlimits;
  }
  features.seccomp = access("/proc/sys/kernel/seccomp/actions_avail", F_OK) == 0;
  features.apparmor = read_line("/sys/module/apparmor/parameters/enabled") == "Y";
  features.user_namespaces = access("/proc/self/ns/user", F_OK) == 0;
  features.time_namespaces = access("/proc/self/ns/time", F_OK) == 0;
  features.online_cpus = read_line("/sys/devices/system/cpu/online");
  features.online_mems = read_line("/sys/devices/system/node/online");
  if (features.online_cpus.empty()) features.online_cpus = "0";
  if (features.online_mems.empty()) features.online_mems = "0";
  features.cpus = std::max(1U, std::thread::hardware_concurrency());
  return features;
}

}  // namespace corten::engine
