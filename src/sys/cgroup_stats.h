// What a cgroup has used so far, in the terms of the Engine API's stats answer.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "sys/cgroup_dir.h"

namespace corten::sys {

struct CpuUsage {
  std::chrono::nanoseconds total{};
  std::chrono::nanoseconds user{};
  std::chrono::nanoseconds system{};
  std::vector<std::chrono::nanoseconds> per_cpu;  // v1 only
  std::uint64_t periods = 0;
  std::uint64_t throttled_periods = 0;
  std::chrono::nanoseconds throttled{};
};

struct MemoryUsage {
  std::uint64_t usage = 0;                  // bytes
  std::optional<std::uint64_t> max_usage;   // bytes; v1, and v2 since 5.19 (memory.peak)
  std::optional<std::uint64_t> limit;       // bytes; absent: none
  std::optional<std::uint64_t> fail_count;  // v1: limit hits; v2: memory.events max
  std::uint64_t oom_kills = 0;
  std::map<std::string, std::uint64_t> stat;  // memory.stat as it is
};

struct BlockIoEntry {
  std::uint64_t major = 0;
  std::uint64_t minor = 0;
  std::string op;  // "Read", "Write", "Sync", "Async", "Discard", "Total" on v1; "read" and "write" on v2
  std::uint64_t value = 0;
};

struct BlockIoUsage {
  std::vector<BlockIoEntry> service_bytes;
  std::vector<BlockIoEntry> serviced;  // v1 only
};

struct PidsUsage {
  std::uint64_t current = 0;
  std::optional<std::uint64_t> limit;  // absent: none
};

struct CgroupStats {
  bool v1 = false;
  // Absent: no such controller.
  std::optional<CpuUsage> cpu;
  std::optional<MemoryUsage> memory;
  std::optional<BlockIoUsage> block_io;
  std::optional<PidsUsage> pids;
};

// One file that cannot be read leaves its numbers at zero; `not_found` if the group is gone.
Result<CgroupStats> read_cgroup_stats(const CgroupDir& group);

// Parsers, for tests: "key value" lines, and blkio's "8:0 Read 4096".
std::map<std::string, std::uint64_t> parse_flat_keyed(std::string_view text);
std::vector<BlockIoEntry> parse_blkio_v1(std::string_view text);
std::vector<BlockIoEntry> parse_io_stat_v2(std::string_view text);

}  // namespace corten::sys
