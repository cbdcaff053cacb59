// rename and update: the two ways in which a container's specification changes after its creation.
#include "base/log.h"
#include "engine/engine_impl.h"
#include "engine/failpoint.h"
#include "engine/names.h"
#include "runtime/cgroup_plan.h"
#include "store/store.h"

namespace corten::engine {

Result<> EngineImpl::rename(std::string_view ref, std::string_view name) {
  if (ref.empty() || name.empty()) return fail(ErrorKind::invalid, "Neither old nor new names may be empty");
  const auto container = TRY(registry_.find(ref));
  const auto fresh = TRY(check_name(name));
  const auto lock = TRY(lock_operation(*container));
  const std::string& id = container->id();
  std::string old;
  CHECK(container->with([&](Container::Data& data) {
    old = data.definition->name;
    return may_restart_or_rename(data.state, id);
  }));
  if (old == fresh) {
    return fail(ErrorKind::invalid, "Renaming a container with the same name as its current name");
  }
  CHECK_AS(registry_.reserve(fresh, id), "Error when allocating new name");
  if (auto renamed = store_.database().rename_container(id, fresh); !renamed) {
    registry_.release(fresh, id);
    return renamed;
  }
  const auto definition = container->with([&](Container::Data& data) {
    auto changed = std::make_shared<Definition>(*data.definition);
    changed->name = fresh;
    data.definition = changed;
    container->publish(true, true);
    return data.definition;
  });
  registry_.release(old, id);
  emit(*definition, "rename", {{"oldName", "/" + old}});
  return {};
}

Result<std::vector<std::string>> EngineImpl::update(std::string_view ref, const UpdateRequest& request) {
  const auto container = TRY(registry_.find(ref));
  const auto lock = TRY(lock_operation(*container));
  const std::string& id = container->id();
  const auto [current, running] =
      TRY(container->with([&](Container::Data& data) -> Result<std::pair<std::shared_ptr<const Definition>, bool>> {
        if (data.state.status == Status::removing || data.state.status == Status::dead) {
          return fail(ErrorKind::conflict,
                      "Cannot update container {}: container is marked for removal and cannot be \"update\".", id);
        }
        return std::pair(data.definition, data.state.running() && !data.state.restarting);
      }));
  auto changed = std::make_shared<Definition>(*current);
  auto warnings = TRY_AS(merge_update(changed->host_config, request, features_), "Cannot update container " + id);
  const auto& policy = changed->host_config.restart_policy.name;
  if (changed->host_config.auto_remove && request.restart_policy && !policy.empty() && policy != "no") {
    return fail(ErrorKind::invalid, "Restart policy cannot be updated because AutoRemove is enabled for the container");
  }
  if (running) {
    const auto group = TRY(open_cgroup(*container));
    const auto resources = TRY(build_resources(changed->host_config));
    CHECK_AS(runtime::update_cgroup(resources, host_.cgroups, group, runtime::Unsupported::warn, warnings),
             "Cannot update container " + id);
  }
  container->with([&](Container::Data& data) {
    data.definition = changed;
    container->publish(true, true);
  });
  emit(*changed, "update");
  return warnings;
}

}  // namespace corten::engine
