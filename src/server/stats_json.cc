#include "server/stats_json.h"

namespace corten::server {
namespace {

using json::Array;
using json::Object;
using json::Value;

Object cpu_json(const engine::StatsSample& sample) {
  const sys::CpuUsage usage = sample.cgroup.cpu.value_or(sys::CpuUsage());
  Object counters{{"total_usage", usage.total.count()}};
  if (!usage.per_cpu.empty()) {
    Array per_cpu;
    for (const auto& cpu : usage.per_cpu) per_cpu.push_back(Value(cpu.count()));
    counters["percpu_usage"] = std::move(per_cpu);
  }
  counters["usage_in_kernelmode"] = usage.system.count();
  counters["usage_in_usermode"] = usage.user.count();
  return Object{{"cpu_usage", std::move(counters)},
                {"system_cpu_usage", sample.system_cpu_nanoseconds},
                {"online_cpus", sample.online_cpus},
                {"throttling_data", Object{{"periods", usage.periods},
                                           {"throttled_periods", usage.throttled_periods},
                                           {"throttled_time", usage.throttled.count()}}}};
}

Object empty_cpu_json() {
  return Object{{"cpu_usage", Object{{"total_usage", 0}, {"usage_in_kernelmode", 0}, {"usage_in_usermode", 0}}},
                {"throttling_data", Object{{"periods", 0}, {"throttled_periods", 0}, {"throttled_time", 0}}}};
}

Object memory_json(const engine::StatsSample& sample) {
  if (!sample.cgroup.memory) return {};
  const sys::MemoryUsage& memory = *sample.cgroup.memory;
  Object stat;
  for (const auto& [name, value] : memory.stat) stat[name] = value;
  Object object{{"usage", memory.usage}};
  if (sample.cgroup.v1 && memory.max_usage) object["max_usage"] = *memory.max_usage;
  object["stats"] = std::move(stat);
  if (sample.cgroup.v1 && memory.fail_count && *memory.fail_count != 0) object["failcnt"] = *memory.fail_count;
  const std::uint64_t limit = memory.limit.value_or(sample.host_memory);
  object["limit"] = std::min(limit, sample.host_memory);
  return object;
}

Array block_list(const std::vector<sys::BlockIoEntry>& entries) {
  Array list;
  for (const sys::BlockIoEntry& entry : entries)
    list.push_back(Object{{"major", entry.major}, {"minor", entry.minor}, {"op", entry.op}, {"value", entry.value}});
  return list;
}

Object block_json(const engine::StatsSample& sample) {
  Object object;
  const auto* io = sample.cgroup.block_io ? &*sample.cgroup.block_io : nullptr;
  const auto list = [](const std::vector<sys::BlockIoEntry>& entries) {
    return entries.empty() ? Value(nullptr) : Value(block_list(entries));
  };
  object["io_service_bytes_recursive"] = io != nullptr ? list(io->service_bytes) : Value(nullptr);
  object["io_serviced_recursive"] = io != nullptr ? list(io->serviced) : Value(nullptr);
  for (const char* name : {"io_queue_recursive", "io_service_time_recursive", "io_wait_time_recursive",
                           "io_merged_recursive", "io_time_recursive", "sectors_recursive"})
    object[name] = nullptr;
  return object;
}

Object pids_json(const engine::StatsSample& sample) {
  Object object;
  if (!sample.cgroup.pids) return object;
  object["current"] = sample.cgroup.pids->current;
  // Docker's "no limit" is the largest unsigned number.
  object["limit"] = sample.cgroup.pids->limit.value_or(~std::uint64_t{0});
  return object;
}

Object networks_json(const engine::StatsSample& sample) {
  Object object;
  for (const auto& [name, link] : sample.networks)
    object[name] =
        Object{{"rx_bytes", link.rx_bytes},     {"rx_packets", link.rx_packets}, {"rx_errors", link.rx_errors},
               {"rx_dropped", link.rx_dropped}, {"tx_bytes", link.tx_bytes},     {"tx_packets", link.tx_packets},
               {"tx_errors", link.tx_errors},   {"tx_dropped", link.tx_dropped}};
  return object;
}

}  // namespace

Value stats_json(const engine::StatsSample& sample, const engine::StatsSample* previous,
                 const engine::ContainerView& container, ApiVersion) {
  const bool compare = previous != nullptr && previous->running && sample.running;
  Object object{{"name", "/" + container.name()},
                {"id", container.id()},
                {"read", format_rfc3339(sample.read)},
                {"preread", compare ? format_rfc3339(previous->read) : std::string(zero_time_text)},
                {"pids_stats", pids_json(sample)},
                {"blkio_stats", block_json(sample)},
                {"num_procs", 0},
                {"storage_stats", Object()},
                {"cpu_stats", sample.running ? cpu_json(sample) : empty_cpu_json()},
                {"precpu_stats", compare ? cpu_json(*previous) : empty_cpu_json()},
                {"memory_stats", memory_json(sample)}};
  if (!sample.networks.empty()) object["networks"] = networks_json(sample);
  return object;
}

}  // namespace corten::server
