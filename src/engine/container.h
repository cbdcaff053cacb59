// One container inside the engine: its published view, its state behind a short lock, and the lock that puts operations
// on it in a row.
//
// Two locks, never confused:
//   operation  held by start, pause, unpause, update, rename, remove: by whoever changes the container from outside and
//              may have to wait for its shim. Never held while waiting for the process to end.
//   mutex_     guards Data, through with(). Nobody blocks while holding it; an exit takes nothing else.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "base/unique_fd.h"
#include "engine/engine.h"
#include "engine/mounts.h"
#include "engine/operation_lock.h"
#include "engine/state.h"
#include "engine/step.h"
#include "engine/tasks.h"
#include "engine/wait_state.h"
#include "network/network.h"
#include "shimproto/shim_client.h"
#include "sys/cgroup_dir.h"

namespace corten::engine {

class FollowedLog;

// What exists only while the first process does. Shared by whoever talks to the shim; finish_run() takes it out of the
// container and has the endpoint, the group and the run directory cleared away.
struct Run {
  std::uint64_t number = 0;
  std::shared_ptr<shimproto::ShimClient> client;  // null until started, or until a shim that was found at boot answers
  network::Endpoint endpoint;
  sys::CgroupDir cgroup;  // only while starting
  std::string cgroup_path;
  pid_t pid = 0;
  pid_t shim_pid = 0;
};

// A client that attached before the start.
struct PendingAttach {
  ClientStream stream;
  shimproto::AttachSpec spec;
};

struct HealthRun {
  std::uint64_t generation = 0;  // grows when monitoring starts or stops: what belongs to an older one is ignored
  bool active = false;
  bool probing = false;
  Timers::Id timer = 0;
};

class Container {
 public:
  struct Data {
    std::shared_ptr<const Definition> definition;
    std::shared_ptr<const std::vector<MountDetail>> mounts;
    State state;
    int restart_count = 0;
    std::shared_ptr<Run> run;
    std::uint64_t run_number = 0;
    bool starting = false;                             // between the shim's start and the state `running`
    std::optional<shimproto::ExitRecord> pending_end;  // came while starting
    bool no_restart = false;                           // the run's end was asked for
    bool keep_after_exit = false;                      // `restart` is at work: no automatic removal
    bool oom_told = false;                             // the `oom` event of this run has been sent
    bool removed = false;
    unsigned cleaning = 0;  // runs whose remains are still being cleared away
    std::chrono::nanoseconds backoff{};
    Timers::Id restart_timer = 0;
    HealthRun health;
    std::vector<std::shared_ptr<WaitState>> waiters;
    std::vector<std::weak_ptr<FollowedLog>> followers;
    std::vector<PendingAttach> attaches;
    std::vector<std::string> exec_ids;
    std::vector<std::uint64_t> exec_attaches;  // attach ids that belong to execs
    std::string cgroup_path;
    std::shared_ptr<StepState> step;                // of a build's step
    std::optional<network::EndpointInfo> endpoint;  // copy of the run's, for views and the record
  };

  Container(std::string id, std::function<void(const Data&, bool spec_changed)> persist,
            std::function<ContainerPtr(const Data&)> make_view)
      : id_(std::move(id)), persist_(std::move(persist)), make_view_(std::move(make_view)) {}
  Container(const Container&) = delete;
  Container& operator=(const Container&) = delete;

  const std::string& id() const { return id_; }
  ContainerPtr view() const EXCLUDES(mutex_) {
    const MutexLock lock(mutex_);
    return view_;
  }

  // Calls f(Data&) under the lock.
  template <class F>
  auto with(F&& f) EXCLUDES(mutex_) {
    const MutexLock lock(mutex_);
    return f(data_);
  }
  // The same, then writes the state to the database and publishes a new view, in the order of the changes.
  template <class F>
  auto change(F&& f) EXCLUDES(mutex_) {
    const MutexLock lock(mutex_);
    if constexpr (std::is_void_v<decltype(f(data_))>) {
      f(data_);
      publish(true);
    } else {
      auto result = f(data_);
      publish(true);
      return result;
    }
  }
  // For inside with(): publish what has been changed so far. Not followed by the analysis, to which the function that
  // with() calls holds nothing.
  void publish(bool to_database, bool spec_changed = false) NO_THREAD_SAFETY_ANALYSIS {
    if (to_database && !data_.removed) persist_(data_, spec_changed);
    view_ = make_view_(data_);
  }

  // Waits until `ready(Data&)`; false when it is not within `limit`. Woken by notify().
  template <class Ready>
  bool wait_for(std::chrono::milliseconds limit, Ready&& ready) EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    return changed_.wait_for(lock, limit, [&]() REQUIRES(mutex_) { return ready(data_); });
  }
  void notify() { changed_.notify_all(); }

  OperationLock operation;

 private:
  const std::string id_;
  const std::function<void(const Data&, bool)> persist_;
  const std::function<ContainerPtr(const Data&)> make_view_;
  mutable Mutex mutex_;
  CondVar changed_;
  Data data_ GUARDED_BY(mutex_);
  ContainerPtr view_ GUARDED_BY(mutex_);
};

using ContainerRef = std::shared_ptr<Container>;

}  // namespace corten::engine
