// One exec: asked for, running or over. Kept for a while after its end so that its exit code can be read.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>

#include "engine/engine.h"
#include "engine/view.h"

namespace corten::engine {

struct Exec {
  // Constant after creation.
  std::string id;
  std::string container_id;
  ExecConfig config;
  bool is_probe = false;

  mutable std::mutex mutex;
  // Guarded by mutex from here on.
  ExecView view;
  bool started = false;
  std::chrono::steady_clock::time_point ended_at;
  // Of a health probe: called once, with the exit code, when the process has ended.
  std::function<void(int exit_code)> on_end;
  // Notified when exit_code is known.
  mutable std::condition_variable ended;

  ExecView copy() const {
    const std::lock_guard lock(mutex);
    return view;
  }
};

// "sh -c 'a b'" as it stands in events: words joined by spaces.
std::string command_text(const std::vector<std::string>& words);

}  // namespace corten::engine
