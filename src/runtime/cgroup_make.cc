#include <algorithm>
#include <cstdlib>

#include "runtime/cgroup_plan.h"

namespace corten::runtime {

namespace {

using sys::CgroupHost;

// memory.limit_in_bytes may never be above memory.memsw.limit_in_bytes, so whether one or the other is written first
// depends on where both stand.
void order_memory_writes(const sys::CgroupDir& group, std::vector<sys::CgroupSetting>& settings) {
  const auto file_is = [](const char* name) {
    return [name](const sys::CgroupSetting& setting) { return setting.file == name; };
  };
  const auto limit = std::ranges::find_if(settings, file_is("memory.limit_in_bytes"));
  const auto both = std::ranges::find_if(settings, file_is("memory.memsw.limit_in_bytes"));
  if (limit == settings.end() || both == settings.end()) return;
  const auto current_text = group.read("memory", "memory.memsw.limit_in_bytes").value_or("0");
  const std::uint64_t current = std::strtoull(current_text.c_str(), nullptr, 10);
  // "-1" is the largest of all.
  const std::uint64_t wanted = limit->value == "-1" ? UINT64_MAX : std::strtoull(limit->value.c_str(), nullptr, 10);
  if (wanted > current) std::iter_swap(limit, both);
}

}  // namespace

Result<sys::CgroupDir> make_cgroup(const oci::Resources& resources, const CgroupHost& host, std::string_view path,
                                   Unsupported unsupported, std::vector<std::string>& warnings,
                                   const sys::CgroupFeatures* known) {
  const auto needed = needed_controllers(resources);
  const auto trees = host.trees_for(needed);
  auto made = sys::CgroupDir::create(trees, path);
  // The parent is nearly always there already, so it is looked after only when the kernel says it is not.
  if (!made && made.error().sys_errno() == ENOENT) {
    const auto slash = path.rfind('/');
    CHECK(sys::prepare_cgroup_parent(host, slash == std::string_view::npos ? "" : path.substr(0, slash), needed));
    made = sys::CgroupDir::create(trees, path);
  }
  auto group = TRY(std::move(made));
  const auto features = known != nullptr ? *known : group.features();
  const auto plan = TRY(plan_cgroup(resources, host, features, unsupported));
  warnings.insert(warnings.end(), plan.warnings.begin(), plan.warnings.end());
  CHECK(group.apply(plan.settings, warnings));
  if (features.devices) CHECK(sys::set_device_rules(group, plan.devices));
  return group;
}

Result<> update_cgroup(const oci::Resources& resources, const CgroupHost& host, const sys::CgroupDir& group,
                       Unsupported unsupported, std::vector<std::string>& warnings) {
  auto plan = TRY(plan_cgroup(resources, host, group.features(), unsupported));
  order_memory_writes(group, plan.settings);
  warnings.insert(warnings.end(), plan.warnings.begin(), plan.warnings.end());
  auto applied = group.apply(plan.settings, warnings);
  if (!applied && applied.error().sys_errno() == EBUSY && resources.memory && resources.memory->limit) {
    const auto usage = group.read("memory", "memory.usage_in_bytes").value_or("?\n");
    return fail(ErrorKind::invalid, "unable to set memory limit to {} (current usage: {})", *resources.memory->limit,
                usage.substr(0, usage.find('\n')));
  }
  CHECK(std::move(applied));
  if (!resources.devices.empty()) CHECK(sys::set_device_rules(group, plan.devices));
  return {};
}

}  // namespace corten::runtime
