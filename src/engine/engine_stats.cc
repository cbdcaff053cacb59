// top and stats.
#include <fstream>

#include <unistd.h>

#include "engine/engine_impl.h"
#include "engine/process_table.h"
#include "engine/stats.h"

namespace corten::engine {
namespace {

// /proc/stat's first line: user nice system idle iowait irq softirq steal guest guest_nice, in clock ticks. Guest time
// is in user already.
std::uint64_t system_cpu_nanoseconds() {
  std::ifstream file("/proc/stat");
  std::string word;
  file >> word;
  std::uint64_t ticks = 0;
  for (int i = 0; i < 8; ++i) {
    std::uint64_t value = 0;
    file >> value;
    ticks += value;
  }
  const auto per_second = static_cast<std::uint64_t>(sysconf(_SC_CLK_TCK));
  return ticks * (1'000'000'000 / per_second);
}

std::uint64_t host_memory_bytes() {
  return static_cast<std::uint64_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
}

}  // namespace

Result<TopResult> EngineImpl::top(std::string_view ref, std::string_view ps_options) {
  const auto container = TRY(registry_.find(ref));
  const ContainerPtr view = container->view();
  if (!view->state.running() || view->state.restarting)
    return fail(ErrorKind::conflict, "container {} is not running", view->id());
  const PsFormat format = TRY(parse_ps_options(ps_options));
  const sys::CgroupDir group = TRY(open_cgroup(*container));
  const auto pids = TRY(group.pids());
  emit(*view->definition, "top");
  return list_processes(pids, format);
}

Result<std::shared_ptr<const StatsSample>> EngineImpl::stats(std::string_view ref) {
  const auto container = TRY(registry_.find(ref));
  const ContainerPtr view = container->view();
  auto sample = std::make_shared<StatsSample>();
  if (!view->state.running() || view->state.restarting) return sample;
  auto group = open_cgroup(*container);
  // It has ended in the meantime.
  if (!group) return sample;
  auto counters = sys::read_cgroup_stats(*group);
  if (!counters) return sample;
  sample->read = now();
  sample->running = true;
  sample->cgroup = std::move(*counters);
  sample->system_cpu_nanoseconds = system_cpu_nanoseconds();
  sample->online_cpus = features_.cpus;
  sample->host_memory = host_memory_bytes();
  if (view->endpoint)
    if (const auto link = network_driver_->statistics(view->endpoint->host_link))
      sample->networks[view->endpoint->container_link] = *link;
  return sample;
}

}  // namespace corten::engine
