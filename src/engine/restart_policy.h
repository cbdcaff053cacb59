// Whether and when a container is started again after its process has ended.
#pragma once

#include <chrono>

#include "spec/host_config.h"

namespace corten::engine {

// The first wait is 100 ms, each further one twice as long, at most a minute; a run of ten seconds starts the count
// anew.
std::chrono::nanoseconds next_backoff(std::chrono::nanoseconds last, std::chrono::nanoseconds ran_for);

struct Ending {
  int exit_code = 0;
  int restart_count = 0;          // restarts by the policy so far
  bool was_asked_for = false;     // stop, or a signal that means it
  bool manually_stopped = false;  // at any time since the last start by hand
};
bool should_restart(const spec::RestartPolicy& policy, const Ending& ending);

// The same question when the daemon starts: `always` also brings back what was stopped by hand.
bool should_restart_at_boot(const spec::RestartPolicy& policy, const Ending& ending);

}  // namespace corten::engine
