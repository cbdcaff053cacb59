// One moment's counters of a container, as the kernel gives them.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "base/time.h"
#include "network/network.h"
#include "sys/cgroup_stats.h"

namespace corten::engine {

struct StatsSample {
  Timestamp read;
  bool running = false;                      // false: everything below is zero
  std::uint64_t system_cpu_nanoseconds = 0;  // all CPUs since boot, idle included
  unsigned online_cpus = 0;
  std::uint64_t host_memory = 0;  // bytes; what a container without a limit may use
  sys::CgroupStats cgroup;
  std::map<std::string, network::LinkStatistics> networks;  // by interface name in the container
};

}  // namespace corten::engine
