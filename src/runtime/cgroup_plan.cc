#include "runtime/cgroup_plan.h"

#include <algorithm>
#include <charconv>

namespace corten::runtime {

namespace {

using sys::CgroupFeatures;
using sys::CgroupHost;
using sys::CgroupTree;

constexpr std::string_view no_memory =
    "Your kernel does not support memory limit capabilities or the cgroup is not mounted. Limitation discarded.";
constexpr std::string_view no_swap =
    "Your kernel does not support swap limit capabilities or the cgroup is not mounted. Memory limited without swap.";
constexpr std::string_view no_reservation =
    "Your kernel does not support memory soft limit capabilities or the cgroup is not mounted. Limitation discarded.";
constexpr std::string_view no_swappiness =
    "Your kernel does not support memory swappiness capabilities, or the cgroup is not mounted. Memory swappiness "
    "discarded.";
constexpr std::string_view no_kernel_tcp =
    "Your kernel does not support kernel TCP memory limit capabilities or the cgroup is not mounted. Limitation "
    "discarded.";
constexpr std::string_view no_oom_disable = "Your kernel does not support OomKillDisable. OomKillDisable discarded.";
constexpr std::string_view no_shares =
    "Your kernel does not support CPU shares or the cgroup is not mounted. Shares discarded.";
constexpr std::string_view no_cfs =
    "Your kernel does not support CPU CFS scheduler or the cgroup is not mounted. Period/quota discarded.";
constexpr std::string_view no_burst =
    "Your kernel does not support CPU burst or the cgroup is not mounted. Burst discarded.";
constexpr std::string_view no_realtime =
    "Your kernel does not support CPU real-time scheduler or the cgroup is not mounted. Real-time period/runtime "
    "discarded.";
constexpr std::string_view no_idle =
    "Your kernel does not support idle CPU cgroups or the cgroup is not mounted. CPU idle discarded.";
constexpr std::string_view no_cpuset =
    "Your kernel does not support cpuset or the cgroup is not mounted. CPUset discarded.";
constexpr std::string_view no_pids =
    "Your kernel does not support PIDs limit capabilities or the cgroup is not mounted. PIDs limit discarded.";
constexpr std::string_view no_weight =
    "Your kernel does not support Block I/O weight or the cgroup is not mounted. Weight discarded.";
constexpr std::string_view no_weight_device =
    "Your kernel does not support Block I/O weight_device or the cgroup is not mounted. Weight-device discarded.";
constexpr std::string_view no_leaf_weight =
    "Your kernel does not support Block I/O leaf weight. Leaf weight discarded.";

// Which resources go where, step by step; each add_ function is one controller.
class Planner {
 public:
  Planner(const CgroupHost& host, const CgroupFeatures& features, Unsupported unsupported)
      : host_(host), features_(features), unsupported_(unsupported) {}

  Result<> add_cpu(const oci::CpuResources& cpu);
  Result<> add_cpuset(const oci::CpuResources& cpu);
  Result<> add_memory(const oci::MemoryResources& memory);
  Result<> add_pids(const oci::PidsResources& pids);
  Result<> add_block_io(const oci::BlockIoResources& block_io);
  Result<> add_hugepages(const std::vector<oci::HugepageLimit>& limits);
  Result<> add_network(const oci::NetworkResources& network);
  Result<> add_rdma(const std::map<std::string, oci::RdmaLimit>& rdma);
  Result<> add_unified(const std::map<std::string, std::string>& unified);

  CgroupPlan take() { return std::move(plan_); }

 private:
  bool is_v2(std::string_view controller) const {
    const CgroupTree* tree = host_.tree_of(controller);
    return tree != nullptr && tree->v2;
  }
  void set(std::string_view controller, std::string file, std::string value) {
    plan_.settings.push_back({std::string(controller), std::move(file), std::move(value), ""});
  }
  // The kernel cannot do it.
  Result<> lacking(std::string_view what) {
    if (unsupported_ == Unsupported::refuse) return fail(ErrorKind::unavailable, "{}", what);
    plan_.warnings.emplace_back(what);
    return {};
  }
  Result<> add_memory_v1(const oci::MemoryResources& memory);
  Result<> add_memory_v2(const oci::MemoryResources& memory);
  Result<> add_cfs(const oci::CpuResources& cpu);
  Result<> add_realtime(const oci::CpuResources& cpu);
  Result<> add_weights(const oci::BlockIoResources& block_io);
  Result<> add_throttle(const std::vector<oci::BlockIoThrottle>& limits, std::string_view v1_file,
                        std::string_view v2_key, std::string_view name);

  const CgroupHost& host_;
  const CgroupFeatures& features_;
  Unsupported unsupported_;
  CgroupPlan plan_;
};

std::string limit_text(std::int64_t value, std::string_view none) {
  return value < 0 ? std::string(none) : std::to_string(value);
}

Result<> Planner::add_cfs(const oci::CpuResources& cpu) {
  const bool wanted = (cpu.quota && *cpu.quota != 0) || (cpu.period && *cpu.period != 0);
  if (wanted && !features_.cpu_cfs) return lacking(no_cfs);
  if (is_v2("cpu")) {
    if (!wanted) return {};
    std::string value = cpu.quota && *cpu.quota > 0 ? std::to_string(*cpu.quota) : "max";
    if (cpu.period && *cpu.period != 0) value += " " + std::to_string(*cpu.period);
    set("cpu", "cpu.max", value);
    return {};
  }
  if (cpu.period && *cpu.period != 0) set("cpu", "cpu.cfs_period_us", std::to_string(*cpu.period));
  if (cpu.quota && *cpu.quota != 0) set("cpu", "cpu.cfs_quota_us", limit_text(*cpu.quota, "-1"));
  return {};
}

Result<> Planner::add_realtime(const oci::CpuResources& cpu) {
  const bool wanted = cpu.realtime_period.value_or(0) != 0 || cpu.realtime_runtime.value_or(0) != 0;
  if (!wanted) return {};
  if (!features_.cpu_realtime) return lacking(no_realtime);
  if (cpu.realtime_period.value_or(0) != 0) set("cpu", "cpu.rt_period_us", std::to_string(*cpu.realtime_period));
  if (cpu.realtime_runtime.value_or(0) != 0) set("cpu", "cpu.rt_runtime_us", std::to_string(*cpu.realtime_runtime));
  return {};
}

Result<> Planner::add_cpu(const oci::CpuResources& cpu) {
  if (cpu.shares.value_or(0) != 0) {
    if (!features_.cpu_shares) {
      CHECK(lacking(no_shares));
    } else if (is_v2("cpu")) {
      set("cpu", "cpu.weight", std::to_string(cpu_weight_of_shares(*cpu.shares)));
    } else {
      set("cpu", "cpu.shares", std::to_string(*cpu.shares));
    }
  }
  CHECK(add_cfs(cpu));
  if (cpu.burst) {
    if (!features_.cpu_burst) {
      if (*cpu.burst != 0) CHECK(lacking(no_burst));
    } else {
      set("cpu", is_v2("cpu") ? "cpu.max.burst" : "cpu.cfs_burst_us", std::to_string(*cpu.burst));
    }
  }
  CHECK(add_realtime(cpu));
  // After the shares: an idle group has none and refuses them.
  if (cpu.idle) {
    if (*cpu.idle != 0 && *cpu.idle != 1)
      return fail(ErrorKind::invalid, "linux.resources.cpu.idle: want 0 or 1, got {}", *cpu.idle);
    if (features_.cpu_idle) {
      set("cpu", "cpu.idle", std::to_string(*cpu.idle));
    } else if (*cpu.idle != 0) {
      CHECK(lacking(no_idle));
    }
  }
  return add_cpuset(cpu);
}

Result<> Planner::add_cpuset(const oci::CpuResources& cpu) {
  if (cpu.cpus.empty() && cpu.mems.empty()) return {};
  if (!features_.cpuset) return lacking(no_cpuset);
  if (!cpu.cpus.empty()) set("cpuset", "cpuset.cpus", cpu.cpus);
  if (!cpu.mems.empty()) set("cpuset", "cpuset.mems", cpu.mems);
  return {};
}

Result<> Planner::add_memory_v1(const oci::MemoryResources& memory) {
  if (memory.limit.value_or(0) != 0) set("memory", "memory.limit_in_bytes", limit_text(*memory.limit, "-1"));
  if (memory.swap.value_or(0) != 0) {
    if (features_.swap_limit) {
      set("memory", "memory.memsw.limit_in_bytes", limit_text(*memory.swap, "-1"));
    } else if (*memory.swap > 0) {
      CHECK(lacking(no_swap));
    }
  }
  if (memory.swappiness) {
    if (*memory.swappiness > 100)
      return fail(ErrorKind::invalid, "linux.resources.memory.swappiness: want 0 to 100, got {}", *memory.swappiness);
    set("memory", "memory.swappiness", std::to_string(*memory.swappiness));
  }
  if (memory.kernel_tcp.value_or(0) != 0) {
    if (!features_.kernel_memory_tcp) return lacking(no_kernel_tcp);
    set("memory", "memory.kmem.tcp.limit_in_bytes", limit_text(*memory.kernel_tcp, "-1"));
  }
  if (memory.disable_oom_killer.value_or(false)) {
    if (!features_.oom_kill_disable) return lacking(no_oom_disable);
    set("memory", "memory.oom_control", "1");
  }
  return {};
}

Result<> Planner::add_memory_v2(const oci::MemoryResources& memory) {
  const std::int64_t limit = memory.limit.value_or(0);
  if (limit != 0) set("memory", "memory.max", limit_text(limit, "max"));
  const std::int64_t swap = memory.swap.value_or(limit < 0 ? -1 : 0);
  if (swap != 0) {
    std::string value = "max";
    if (swap > 0) {
      if (limit == 0)
        return fail(ErrorKind::invalid, "linux.resources.memory.swap: cannot limit swap without a memory limit");
      if (limit > 0 && swap < limit)
        return fail(ErrorKind::invalid, "linux.resources.memory.swap: {} is less than the memory limit {}", swap,
                    limit);
      // v2 counts swap alone, the specification memory and swap together.
      value = limit > 0 ? std::to_string(swap - limit) : "max";
    }
    if (features_.swap_limit) {
      set("memory", "memory.swap.max", value);
    } else if (value != "max") {
      CHECK(lacking(no_swap));
    }
  }
  if (memory.swappiness) CHECK(lacking(no_swappiness));
  if (memory.kernel_tcp.value_or(0) != 0) CHECK(lacking(no_kernel_tcp));
  if (memory.disable_oom_killer.value_or(false)) CHECK(lacking(no_oom_disable));
  return {};
}

Result<> Planner::add_memory(const oci::MemoryResources& memory) {
  const bool v2 = is_v2("memory");
  if (!features_.memory_limit) {
    const bool wanted =
        memory.limit.value_or(0) > 0 || memory.swap.value_or(0) > 0 || memory.reservation.value_or(0) > 0;
    return wanted ? lacking(no_memory) : Result<>{};
  }
  CHECK(v2 ? add_memory_v2(memory) : add_memory_v1(memory));
  if (memory.reservation.value_or(0) != 0) {
    if (!features_.memory_reservation) return lacking(no_reservation);
    if (v2) {
      set("memory", "memory.low", limit_text(*memory.reservation, "max"));
    } else {
      set("memory", "memory.soft_limit_in_bytes", limit_text(*memory.reservation, "-1"));
    }
  }
  // `kernel` is accepted and without effect, as in runc: kernels took the limit away.
  return {};
}

Result<> Planner::add_pids(const oci::PidsResources& pids) {
  if (pids.limit == 0) return {};
  if (!features_.pids_limit) return pids.limit > 0 ? lacking(no_pids) : Result<>{};
  set("pids", "pids.max", limit_text(pids.limit, "max"));
  return {};
}

Result<> Planner::add_weights(const oci::BlockIoResources& block_io) {
  const auto value = [](const std::string& file, std::uint16_t weight) {
    return std::to_string(file == "io.weight" ? io_weight_of_blkio(weight) : weight);
  };
  const auto in_range = [](std::uint16_t weight) { return weight == 0 || (weight >= 10 && weight <= 1000); };
  if (const std::uint16_t weight = block_io.weight.value_or(0); weight != 0) {
    if (!in_range(weight))
      return fail(ErrorKind::invalid, "linux.resources.blockIO.weight: want 10 to 1000, got {}", weight);
    if (features_.blkio_weight.empty()) {
      CHECK(lacking(no_weight));
    } else {
      set(is_v2("io") ? "io" : "blkio", features_.blkio_weight, value(features_.blkio_weight, weight));
    }
  }
  bool leaf = block_io.leaf_weight.value_or(0) != 0;
  for (const auto& device : block_io.weight_device) {
    leaf |= device.leaf_weight.value_or(0) != 0;
    const std::uint16_t weight = device.weight.value_or(0);
    if (weight == 0) continue;
    if (!in_range(weight))
      return fail(ErrorKind::invalid, "linux.resources.blockIO.weightDevice: want 10 to 1000, got {}", weight);
    const std::string& file = features_.blkio_weight_device;
    if (file.empty()) {
      CHECK(lacking(no_weight_device));
      break;
    }
    set(is_v2("io") ? "io" : "blkio", file, fmt::format("{}:{} {}", device.major, device.minor, value(file, weight)));
  }
  return leaf ? lacking(no_leaf_weight) : Result<>{};
}

Result<> Planner::add_throttle(const std::vector<oci::BlockIoThrottle>& limits, std::string_view v1_file,
                               std::string_view v2_key, std::string_view name) {
  if (limits.empty()) return {};
  if (!features_.blkio_throttle)
    return lacking(
        fmt::format("Your kernel does not support {0} limit or the cgroup is not mounted. {0} limit discarded.", name));
  for (const auto& limit : limits) {
    if (limit.major < 0 || limit.minor < 0)
      return fail(ErrorKind::invalid, "linux.resources.blockIO: {}:{} is not a device number", limit.major,
                  limit.minor);
    if (is_v2("io")) {
      set("io", "io.max",
          fmt::format("{}:{} {}={}", limit.major, limit.minor, v2_key,
                      limit.rate == 0 ? "max" : std::to_string(limit.rate)));
    } else {
      set("blkio", std::string(v1_file), fmt::format("{}:{} {}", limit.major, limit.minor, limit.rate));
    }
  }
  return {};
}

Result<> Planner::add_block_io(const oci::BlockIoResources& block_io) {
  CHECK(add_weights(block_io));
  CHECK(
      add_throttle(block_io.throttle_read_bps_device, "blkio.throttle.read_bps_device", "rbps", "Block I/O BPS read"));
  CHECK(add_throttle(block_io.throttle_write_bps_device, "blkio.throttle.write_bps_device", "wbps",
                     "Block I/O BPS write"));
  CHECK(add_throttle(block_io.throttle_read_iops_device, "blkio.throttle.read_iops_device", "riops",
                     "Block I/O IOPS read"));
  return add_throttle(block_io.throttle_write_iops_device, "blkio.throttle.write_iops_device", "wiops",
                      "Block I/O IOPS write");
}

Result<> Planner::add_hugepages(const std::vector<oci::HugepageLimit>& limits) {
  for (const auto& limit : limits) {
    const auto& size = limit.page_size;
    std::uint64_t number = 0;
    const auto [end, error] = std::from_chars(size.data(), size.data() + size.size(), number);
    const std::string_view unit(end, static_cast<std::size_t>(size.data() + size.size() - end));
    if (error != std::errc{} || number == 0 || (unit != "KB" && unit != "MB" && unit != "GB"))
      return fail(ErrorKind::invalid, "linux.resources.hugepageLimits: \"{}\" is not a page size like 2MB", size);
    if (!features_.hugetlb) {
      CHECK(lacking(
          "Your kernel does not support hugetlb limits or the cgroup is not mounted. Hugepage limit discarded."));
      continue;
    }
    set("hugetlb", "hugetlb." + size + (is_v2("hugetlb") ? ".max" : ".limit_in_bytes"), std::to_string(limit.limit));
  }
  return {};
}

Result<> Planner::add_network(const oci::NetworkResources& network) {
  const auto need = [&](std::string_view controller) {
    return host_.tree_of(controller) != nullptr && !is_v2(controller);
  };
  if (network.class_id.value_or(0) != 0) {
    if (!need("net_cls")) {
      CHECK(lacking("Your kernel does not support net_cls or the cgroup is not mounted. Class id discarded."));
    } else {
      set("net_cls", "net_cls.classid", std::to_string(*network.class_id));
    }
  }
  for (const auto& priority : network.priorities) {
    if (!need("net_prio"))
      return lacking(
          "Your kernel does not support net_prio or the cgroup is not mounted. Network priorities discarded.");
    set("net_prio", "net_prio.ifpriomap", fmt::format("{} {}", priority.name, priority.priority));
  }
  return {};
}

Result<> Planner::add_rdma(const std::map<std::string, oci::RdmaLimit>& rdma) {
  for (const auto& [device, limit] : rdma) {
    if (host_.tree_of("rdma") == nullptr)
      return lacking("Your kernel does not support rdma limits or the cgroup is not mounted. RDMA limit discarded.");
    std::string value = device;
    if (limit.hca_handles) value += fmt::format(" hca_handle={}", *limit.hca_handles);
    if (limit.hca_objects) value += fmt::format(" hca_object={}", *limit.hca_objects);
    set("rdma", "rdma.max", value);
  }
  return {};
}

Result<> Planner::add_unified(const std::map<std::string, std::string>& unified) {
  for (const auto& [file, value] : unified) {
    if (host_.mode() != sys::CgroupMode::v2)
      return fail(ErrorKind::invalid, "linux.resources.unified: \"{}\" needs cgroup v2, this machine has {}", file,
                  sys::to_string(host_.mode()));
    const auto dot = file.find('.');
    const auto controller = file.substr(0, dot);
    if (dot == std::string::npos || file.find('/') != std::string::npos || controller == "cgroup")
      return fail(ErrorKind::invalid, "linux.resources.unified: \"{}\" is not a controller's file", file);
    if (host_.tree_of(controller) == nullptr)
      return fail(ErrorKind::unavailable, "linux.resources.unified: \"{}\": this machine has no {} controller", file,
                  controller);
    set(controller, file, value);
  }
  return {};
}

}  // namespace

std::uint64_t cpu_weight_of_shares(std::uint64_t shares) {
  const std::uint64_t clamped = std::clamp<std::uint64_t>(shares, 2, 262144);
  return 1 + ((clamped - 2) * 9999) / 262142;
}

std::uint64_t io_weight_of_blkio(std::uint64_t weight) {
  const std::uint64_t clamped = std::clamp<std::uint64_t>(weight, 10, 1000);
  return 1 + ((clamped - 10) * 9999) / 990;
}

std::vector<std::string> needed_controllers(const oci::Resources& resources) {
  std::vector<std::string> needed;
  if (!resources.hugepage_limits.empty()) needed.emplace_back("hugetlb");
  if (!resources.rdma.empty()) needed.emplace_back("rdma");
  return needed;
}

Result<CgroupPlan> plan_cgroup(const oci::Resources& resources, const CgroupHost& host, const CgroupFeatures& features,
                               Unsupported unsupported) {
  Planner planner(host, features, unsupported);
  if (resources.cpu) CHECK(planner.add_cpu(*resources.cpu));
  if (resources.memory) CHECK(planner.add_memory(*resources.memory));
  if (resources.pids) CHECK(planner.add_pids(*resources.pids));
  if (resources.block_io) CHECK(planner.add_block_io(*resources.block_io));
  CHECK(planner.add_hugepages(resources.hugepage_limits));
  if (resources.network) CHECK(planner.add_network(*resources.network));
  CHECK(planner.add_rdma(resources.rdma));
  CHECK(planner.add_unified(resources.unified));
  CgroupPlan plan = planner.take();
  plan.devices = TRY(plan_devices(resources.devices));
  return plan;
}

}  // namespace corten::runtime
