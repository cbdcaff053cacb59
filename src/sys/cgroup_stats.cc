#include "sys/cgroup_stats.h"

#include <unistd.h>

#include <charconv>

#include "sys/cgroup_files.h"

namespace corten::sys {

namespace {

using cgroup_files::exists_at;
using cgroup_files::read_at;
using cgroup_files::trim;
using std::chrono::nanoseconds;

std::string_view next_line(std::string_view& text) {
  const auto line = text.substr(0, text.find('\n'));
  text.remove_prefix(std::min(text.size(), line.size() + 1));
  return line;
}

std::string_view next_word(std::string_view& text) {
  text = trim(text);
  const auto word = text.substr(0, text.find(' '));
  text.remove_prefix(word.size());
  return word;
}

std::optional<std::uint64_t> to_number(std::string_view text) {
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return number;
}

// A file with one number; "max" and what cannot be read are nullopt.
std::optional<std::uint64_t> number_in(int directory, const char* file) {
  const auto text = read_at(directory, file);
  return text ? to_number(trim(*text)) : std::nullopt;
}

std::map<std::string, std::uint64_t> keyed_in(int directory, const char* file) {
  return parse_flat_keyed(read_at(directory, file).value_or(""));
}

std::uint64_t value_of(const std::map<std::string, std::uint64_t>& map, const char* key) {
  const auto found = map.find(key);
  return found == map.end() ? 0 : found->second;
}

nanoseconds ns(std::uint64_t count) { return nanoseconds(static_cast<std::int64_t>(count)); }

CpuUsage cpu_v1(const CgroupDir& group) {
  CpuUsage usage;
  if (const int accounting = group.directory_of("cpuacct"); accounting >= 0) {
    usage.total = ns(number_in(accounting, "cpuacct.usage").value_or(0));
    const auto per_cpu = read_at(accounting, "cpuacct.usage_percpu").value_or("");
    for (std::string_view rest = trim(per_cpu); !rest.empty();)
      usage.per_cpu.push_back(ns(to_number(next_word(rest)).value_or(0)));
    if (exists_at(accounting, "cpuacct.usage_user")) {
      usage.user = ns(number_in(accounting, "cpuacct.usage_user").value_or(0));
      usage.system = ns(number_in(accounting, "cpuacct.usage_sys").value_or(0));
    } else {
      const auto tick = nanoseconds(std::chrono::seconds(1)) / ::sysconf(_SC_CLK_TCK);
      const auto stat = keyed_in(accounting, "cpuacct.stat");
      usage.user = tick * static_cast<std::int64_t>(value_of(stat, "user"));
      usage.system = tick * static_cast<std::int64_t>(value_of(stat, "system"));
    }
  }
  if (const int cpu = group.directory_of("cpu"); cpu >= 0) {
    const auto stat = keyed_in(cpu, "cpu.stat");
    usage.periods = value_of(stat, "nr_periods");
    usage.throttled_periods = value_of(stat, "nr_throttled");
    usage.throttled = ns(value_of(stat, "throttled_time"));
  }
  return usage;
}

CpuUsage cpu_v2(int directory) {
  const auto stat = keyed_in(directory, "cpu.stat");
  const auto microseconds = [&](const char* key) {
    return nanoseconds(std::chrono::microseconds(static_cast<std::int64_t>(value_of(stat, key))));
  };
  return {.total = microseconds("usage_usec"),
          .user = microseconds("user_usec"),
          .system = microseconds("system_usec"),
          .per_cpu = {},
          .periods = value_of(stat, "nr_periods"),
          .throttled_periods = value_of(stat, "nr_throttled"),
          .throttled = microseconds("throttled_usec")};
}

MemoryUsage memory_v1(int directory) {
  // What the kernel shows for "no limit": the largest multiple of the page size in a signed number.
  constexpr std::uint64_t no_limit = 0x7fff'ffff'ffff'0000;
  MemoryUsage usage;
  usage.usage = number_in(directory, "memory.usage_in_bytes").value_or(0);
  usage.max_usage = number_in(directory, "memory.max_usage_in_bytes");
  usage.fail_count = number_in(directory, "memory.failcnt");
  usage.limit = number_in(directory, "memory.limit_in_bytes");
  if (usage.limit && *usage.limit >= no_limit) usage.limit.reset();
  usage.stat = keyed_in(directory, "memory.stat");
  usage.oom_kills = value_of(keyed_in(directory, "memory.oom_control"), "oom_kill");
  return usage;
}

MemoryUsage memory_v2(int directory) {
  MemoryUsage usage;
  usage.usage = number_in(directory, "memory.current").value_or(0);
  usage.max_usage = number_in(directory, "memory.peak");
  usage.limit = number_in(directory, "memory.max");
  usage.stat = keyed_in(directory, "memory.stat");
  const auto events = keyed_in(directory, "memory.events");
  usage.fail_count = value_of(events, "max");
  usage.oom_kills = value_of(events, "oom_kill");
  return usage;
}

BlockIoUsage block_io_v1(int directory) {
  // Two sets of counters: the I/O scheduler's, which count only where that scheduler runs, and the throttling layer's.
  BlockIoUsage usage{
      .service_bytes = parse_blkio_v1(read_at(directory, "blkio.bfq.io_service_bytes_recursive").value_or("")),
      .serviced = parse_blkio_v1(read_at(directory, "blkio.bfq.io_serviced_recursive").value_or(""))};
  if (!usage.serviced.empty()) return usage;
  usage.service_bytes = parse_blkio_v1(read_at(directory, "blkio.throttle.io_service_bytes_recursive").value_or(""));
  usage.serviced = parse_blkio_v1(read_at(directory, "blkio.throttle.io_serviced_recursive").value_or(""));
  return usage;
}

}  // namespace

std::map<std::string, std::uint64_t> parse_flat_keyed(std::string_view text) {
  std::map<std::string, std::uint64_t> map;
  while (!text.empty()) {
    auto line = next_line(text);
    const auto key = next_word(line);
    if (const auto number = to_number(trim(line)); number && !key.empty()) map.emplace(key, *number);
  }
  return map;
}

std::vector<BlockIoEntry> parse_blkio_v1(std::string_view text) {
  std::vector<BlockIoEntry> entries;
  while (!text.empty()) {
    auto line = next_line(text);
    const auto device = next_word(line);
    const auto op = next_word(line);
    const auto value = to_number(trim(line));
    const auto colon = device.find(':');
    if (colon == std::string_view::npos || !value) continue;  // the closing "Total 0"
    const auto major = to_number(device.substr(0, colon));
    const auto minor = to_number(device.substr(colon + 1));
    if (major && minor) entries.push_back({.major = *major, .minor = *minor, .op = std::string(op), .value = *value});
  }
  return entries;
}

std::vector<BlockIoEntry> parse_io_stat_v2(std::string_view text) {
  std::vector<BlockIoEntry> entries;
  while (!text.empty()) {
    auto line = next_line(text);
    const auto device = next_word(line);
    const auto colon = device.find(':');
    if (colon == std::string_view::npos) continue;
    const auto major = to_number(device.substr(0, colon));
    const auto minor = to_number(device.substr(colon + 1));
    if (!major || !minor) continue;
    while (!trim(line).empty()) {
      const auto item = next_word(line);
      const auto equals = item.find('=');
      if (equals == std::string_view::npos) continue;
      const auto key = item.substr(0, equals);
      const auto value = to_number(item.substr(equals + 1));
      if (!value || (key != "rbytes" && key != "wbytes")) continue;
      entries.push_back({.major = *major, .minor = *minor, .op = key == "rbytes" ? "read" : "write", .value = *value});
    }
  }
  return entries;
}

Result<CgroupStats> read_cgroup_stats(const CgroupDir& group) {
  CgroupStats stats{.v1 = group.uses_v1()};
  const int v2 = group.v2_directory();
  const auto is_v2 = [&](int directory) { return directory >= 0 && directory == v2; };
  // Every group has this file as long as it exists.
  for (const char* controller : {"memory", "cpu", "pids", "cgroup"}) {
    const int directory = group.directory_of(controller);
    if (directory < 0) continue;
    if (!exists_at(directory, "cgroup.procs")) return fail(ErrorKind::not_found, "no such cgroup: {}", group.path());
    break;
  }
  if (group.directory_of("cpuacct") >= 0 || (group.directory_of("cpu") >= 0 && !is_v2(group.directory_of("cpu")))) {
    stats.cpu = cpu_v1(group);
  } else if (v2 >= 0) {
    stats.cpu = cpu_v2(v2);  // cpu.stat is there without the controller as well
  }
  if (const int memory = group.directory_of("memory"); memory >= 0)
    stats.memory = is_v2(memory) ? memory_v2(memory) : memory_v1(memory);
  if (const int io = group.directory_of("io"); io >= 0)
    stats.block_io = BlockIoUsage{parse_io_stat_v2(read_at(io, "io.stat").value_or("")), {}};
  else if (const int blkio = group.directory_of("blkio"); blkio >= 0)
    stats.block_io = block_io_v1(blkio);
  if (const int pids = group.directory_of("pids"); pids >= 0)
    stats.pids = PidsUsage{number_in(pids, "pids.current").value_or(0), number_in(pids, "pids.max")};
  return stats;
}

}  // namespace corten::sys
