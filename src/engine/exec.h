// One exec: asked for, running or over. Kept for a while after its end so that its exit code can be read.
#pragma once

#include <chrono>
#include <functional>
#include <string>

#include "base/mutex.h"
#include "engine/engine.h"
#include "engine/view.h"

namespace corten::engine {

struct Exec {
  Exec(ExecView start, ExecConfig wanted, bool probe)
      : id(start.id),
        container_id(start.container_id),
        config(std::move(wanted)),
        is_probe(probe),
        view(std::move(start)) {}

  const std::string id;
  const std::string container_id;
  const ExecConfig config;
  const bool is_probe;

  mutable Mutex mutex;
  ExecView view GUARDED_BY(mutex);
  bool started GUARDED_BY(mutex) = false;
  std::chrono::steady_clock::time_point ended_at GUARDED_BY(mutex);
  // Of a health probe: called once, with the exit code, when the process has ended.
  std::function<void(int exit_code)> on_end GUARDED_BY(mutex);
  // Notified when exit_code is known.
  mutable CondVar ended;

  ExecView copy() const EXCLUDES(mutex) {
    const MutexLock lock(mutex);
    return view;
  }
  // The same once the exit code is known, at the latest after `limit`.
  ExecView copy_of_end(std::chrono::milliseconds limit) const EXCLUDES(mutex) {
    MutexLock lock(mutex);
    ended.wait_for(lock, limit, [this]() REQUIRES(mutex) { return view.exit_code.has_value(); });
    return view;
  }
};

// "sh -c 'a b'" as it stands in events: words joined by spaces.
std::string command_text(const std::vector<std::string>& words);

}  // namespace corten::engine
