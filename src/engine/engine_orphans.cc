// What a killed daemon has left and no record speaks of: runs, control groups, snapshots. Every such thing carries its
// container's id in its name; what has another name is not ours to remove.
#include <fcntl.h>
#include <signal.h>

#include "base/log.h"
#include "engine/engine_impl.h"
#include "engine/orphans.h"
#include "engine/record.h"
#include "image/images.h"
#include "store/store.h"
#include "sys/files.h"
#include "sys/process.h"

namespace corten::engine {
namespace {

constexpr std::chrono::milliseconds group_patience{10'000};

// Is this process still the shim that the run directory speaks of? Its number may be somebody else's by now.
bool is_shim(pid_t pid) {
  const auto name = sys::read_file(fmt::format("/proc/{}/comm", pid), 64);
  return name && name->starts_with("corten-shim");
}

void end_group(const sys::CgroupHost& host, const std::string& path) {
  auto group = sys::CgroupDir::open(host.trees(), path);
  if (!group) return;
  if (auto killed = group->kill_all(group_patience); !killed) log::warn("{}: {}", path, killed.error().text());
  if (auto removed = group->remove(group_patience); !removed) log::warn("{}: {}", path, removed.error().text());
}

}  // namespace

void EngineImpl::end_orphan_run(const std::string& id) {
  const std::string path = layout_.run(id);
  log::info("run directory {} belongs to no container: ending what runs there", short_id(id));
  const auto directory = sys::open_directory(path);
  if (!directory) {
    (void)sys::remove_tree(path);
    return;
  }
  const auto done = std::make_shared<WaitState>(WaitCondition::not_running);
  shimproto::ShimCallbacks callbacks;
  callbacks.on_exit = [done](const shimproto::ExitRecord& record) { done->finish({record.code, ""}); };
  callbacks.on_lost = [done](const Error&) { done->finish({}); };
  const auto client = shims_->reconnect(directory->get(), std::move(callbacks));
  if (client) {
    if ((*client)->pidfd() >= 0) (void)sys::pidfd_send_signal((*client)->pidfd(), SIGKILL);
    (void)done->wait_for(group_patience);
  } else if (const auto state = shimproto::read_state(directory->get());
             state && state->shim_pid > 0 && is_shim(state->shim_pid)) {
    ::kill(state->shim_pid, SIGKILL);
  }
  std::string group = cgroup_parent_ + "/" + id;
  if (const auto text = sys::read_file(path + "/" + intent_file)) {
    const auto intent = decode_state(*text);
    if (intent && !intent->cgroup_path.empty()) group = intent->cgroup_path;
  }
  if (is_container_id(id)) end_group(host_.cgroups, group);
  if (auto removed = sys::remove_tree(path); !removed) log::warn("{}: {}", path, removed.error().text());
}

void EngineImpl::remove_orphans() {
  for (const auto& snapshot : store_.snapshots().active()) {
    if (!is_container_id(snapshot.key) || registry_.by_id(snapshot.key) != nullptr) continue;
    log::info("snapshot {} belongs to no container: removing it", short_id(snapshot.key));
    if (auto removed = store_.snapshots().remove(snapshot.key); !removed) log::warn("{}", removed.error().text());
  }
  // The layers of a build that was under way have no image; what its steps stood on is free now.
  images_.container_gone("");
  for (const auto& id : sys::list_cgroup_children(host_.cgroups, cgroup_parent_)) {
    if (!is_container_id(id)) continue;
    janitor_.submit([this, id] {
      const std::string path = cgroup_parent_ + "/" + id;
      const auto container = registry_.by_id(id);
      if (container == nullptr) return end_group(host_.cgroups, path);
      const auto lock = lock_operation(*container);
      const bool idle = lock && container->with([](Container::Data& data) { return !data.run && data.cleaning == 0; });
      if (idle) end_group(host_.cgroups, path);
    });
  }
}

}  // namespace corten::engine
