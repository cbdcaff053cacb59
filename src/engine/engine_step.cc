// The end of a build's step: its container goes, what it has changed is handed over.
#include "base/log.h"
#include "engine/engine_impl.h"
#include "engine/failpoint.h"
#include "engine/step.h"
#include "store/store.h"

namespace corten::engine {

Result<EndedStep> EngineImpl::take_step(std::string_view ref) {
  const auto container = TRY(registry_.find(ref));
  const auto lock = TRY(lock_operation(*container));
  EndedStep out;
  std::vector<MountPointMade> made;
  auto allowed = container->with([&](Container::Data& data) -> Result<> {
    if (!data.step) return fail(ErrorKind::conflict, "container {} is no step of a build", ref);
    if (data.removed) return fail(ErrorKind::not_found, "No such container: {}", ref);
    CHECK(may_remove(data.state, data.definition->name, container->id(), false));
    made = data.step->made;
    out = {data.definition->snapshot_key, data.state.exit_code, data.state.oom_killed, data.step->output_cut};
    return {};
  });
  CHECK(std::move(allowed));
  CHECK(remove_mount_points(store_.snapshots(), out.snapshot_key, made));
  container->change([](Container::Data& data) { data.state.status = Status::removing; });
  failpoint("step.taken");
  CHECK(remove_around_snapshot(container, false));
  failpoint("step.handed_over");
  return out;
}

}  // namespace corten::engine
