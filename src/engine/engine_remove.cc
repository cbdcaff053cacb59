// `rm`, `--rm` and prune. What a user waits for is short: the snapshot's name, the directory's name and the record go;
// files are deleted behind his back, and by the next daemon if this one does not come to it.
#include <stdio.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "engine/engine_impl.h"
#include "engine/failpoint.h"
#include "image/images.h"
#include "store/store.h"
#include "sys/files.h"
#include "volume/volumes.h"

namespace corten::engine {

Result<> EngineImpl::remove(std::string_view ref, RemoveOptions options) {
  const auto container = TRY(registry_.find(ref));
  if (options.link) {
    return fail(ErrorKind::not_implemented, "cannot remove link {}: a link lasts as long as its container", ref);
  }
  bool running = false, removing = false;
  auto removed = std::make_shared<WaitState>(WaitCondition::removed);
  const Cleanup leave([&] { removed->abandon(); });
  auto allowed = container->with([&](Container::Data& data) -> Result<> {
    removing = data.state.status == Status::removing;
    if (!removing || !options.force)
      CHECK(may_remove(data.state, data.definition->name, container->id(), options.force));
    running = data.state.running() || data.starting;
    // A forced removal that meets one under way (of --rm, say) has what it wants once that one is through.
    data.waiters.push_back(removed);
    return {};
  });
  CHECK(std::move(allowed));
  // Once more if it was started by somebody else before its turn to be removed had come.
  for (int attempt = 0; attempt < 3; ++attempt) {
    if (running) CHECK(kill_for_removal(container));
    const auto lock = TRY(lock_operation(*container));
    CHECK(container->with([&](Container::Data& data) -> Result<> {
      removing = data.removed || (options.force && data.state.status == Status::removing);
      running = data.state.running();
      if (removing || (running && options.force)) return {};
      return may_remove(data.state, data.definition->name, container->id(), false);
    }));
    if (removing) break;
    if (!running) return remove_locked(container, options.volumes);
  }
  if (!removing) {
    return fail(ErrorKind::conflict, "cannot remove container \"/{}\": it is started again and again",
                container->view()->name());
  }
  removed->wait_for(std::chrono::seconds(10));
  return {};
}

Result<> EngineImpl::kill_for_removal(const ContainerRef& container) {
  auto killed = kill_and_wait(container);
  // Not running any more is as good.
  if (killed || killed.error().kind() == ErrorKind::conflict) return {};
  return std::unexpected(std::move(killed).error().wrap(
      fmt::format("cannot remove container \"/{}\": could not kill container", container->view()->name())));
}

Result<> EngineImpl::remove_locked(const ContainerRef& container, bool volumes) {
  std::shared_ptr<const Definition> definition;
  std::vector<PendingAttach> attaches;
  Timers::Id timer = 0;
  container->change([&](Container::Data& data) {
    definition = data.definition;
    data.state.status = Status::removing;
    data.state.restarting = false;
    timer = std::exchange(data.restart_timer, 0);
    attaches.swap(data.attaches);
  });
  if (timer != 0) timers_.cancel(timer);

  failpoint("remove.begin");
  // From here to the end of this function a killed daemon's successor goes on with it: a record without its snapshot or
  // without its directory is a removal that was under way.
  if (auto gone = store_.snapshots().remove(definition->snapshot_key);
      !gone && gone.error().kind() != ErrorKind::not_found) {
    container->change([](Container::Data& data) { data.state.status = Status::dead; });
    return std::unexpected(
        std::move(gone).error().wrap(fmt::format("cannot remove container \"/{}\"", definition->name)));
  }
  // Of a step whoever builds has leased what it stands on.
  if (!definition->build_step) images_.container_gone(definition->image_id);
  failpoint("remove.after_snapshot");
  return remove_around_snapshot(container, volumes);
}

Result<> EngineImpl::remove_around_snapshot(const ContainerRef& container, bool volumes) {
  const std::string& id = container->id();
  const auto [definition, mounts] =
      container->with([](Container::Data& data) { return std::pair(data.definition, data.mounts); });
  if (::rename(layout_.container(id).c_str(), layout_.removing(id).c_str()) != 0 && errno != ENOENT) {
    const int saved = errno;
    container->change([](Container::Data& data) { data.state.status = Status::dead; });
    return sys_fail_text(saved,
                         fmt::format("cannot remove container \"/{}\": put its directory aside", definition->name));
  }
  failpoint("remove.after_rename");
  for (const MountDetail& detail : *mounts) {
    if (detail.volume_name.empty()) continue;
    volumes_.release(detail.volume_name, id);
    if (!volumes) continue;
    const auto info = volumes_.get(detail.volume_name);
    if (!info || !info->anonymous || info->references != 0) continue;
    if (auto dropped = volumes_.remove(detail.volume_name); !dropped) {
      log::warn("container {}: {}", short_id(id), dropped.error().text());
    }
  }
  if (auto dropped = store_.database().delete_container(id); !dropped) {
    log::warn("container {}: {}", short_id(id), dropped.error().text());
  }
  registry_.erase(id, definition->name, definition->created);
  failpoint("remove.after_record");
  std::vector<std::shared_ptr<WaitState>> waiters;
  WaitResult waited;
  std::vector<std::string> execs;
  container->with([&](Container::Data& data) {
    data.removed = true;
    waiters.swap(data.waiters);
    execs.swap(data.exec_ids);
    // Why an earlier start failed is no error of the removal.
    waited = {data.state.exit_code, ""};
  });
  emit(*definition, "destroy");
  finish_waiters(waiters, true, waited);
  janitor_.submit([this, container] {
    const std::string left = layout_.removing(container->id());
    if (auto cleared = sys::remove_tree(left); !cleared) {
      log::warn("clear away container {}: {}", short_id(container->id()), cleared.error().text());
    }
  });
  return {};
}

// At the end of a run of --rm. Whoever holds the operation lock (a restart, say) is waited for on a thread of its own.
void EngineImpl::auto_remove(const ContainerRef& container) {
  const auto attempt = [this, container] {
    const bool wanted = container->with([](Container::Data& data) {
      return !data.removed && after(data.state.status, Move::remove).has_value() && !data.starting;
    });
    if (!wanted) return;
    if (auto removed = remove_locked(container, true); !removed) {
      log::warn("remove container {}: {}", short_id(container->id()), removed.error().text());
    }
  };
  // A volume's files may be many: that is nothing for the thread that reports other containers' ends.
  if (container->with([](Container::Data& data) { return data.mounts->empty(); })) {
    const std::unique_lock lock(container->operation, std::try_to_lock);
    if (lock) return attempt();
  }
  workers_.submit([this, container, attempt] {
    const auto lock = lock_operation(*container);
    if (lock) attempt();
  });
}

Result<PruneResult> EngineImpl::prune(const std::function<bool(const ContainerView&)>& matches) {
  PruneResult result;
  for (const auto& container : registry_.all()) {
    const auto view = container->view();
    const bool idle = !view->state.running() && view->state.status != Status::removing;
    if (!idle || view->definition->build_step || (matches && !matches(*view))) continue;
    std::uint64_t bytes = 0;
    if (const auto usage = store_.snapshots().usage(view->definition->snapshot_key)) bytes = usage->bytes;
    // One that was started or removed meanwhile is simply not pruned.
    if (!remove(view->id(), {})) continue;
    result.deleted.push_back(view->id());
    result.space_reclaimed += bytes;
  }
  Event event;
  event.type = "container";
  event.action = "prune";
  event.attributes["reclaimed"] = std::to_string(result.space_reclaimed);
  events_.publish(std::move(event));
  return result;
}

}  // namespace corten::engine
