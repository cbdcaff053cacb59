#include "engine/restart_policy.h"

#include <algorithm>

namespace corten::engine {
namespace {

using namespace std::chrono_literals;

bool failed_and_may_retry(const spec::RestartPolicy& policy, const Ending& ending) {
  if (ending.exit_code == 0) return false;
  return policy.maximum_retry_count == 0 || ending.restart_count < policy.maximum_retry_count;
}

}  // namespace

std::chrono::nanoseconds next_backoff(std::chrono::nanoseconds last, std::chrono::nanoseconds ran_for) {
  if (ran_for >= 10s || last <= 0ns) return 100ms;
  return std::min<std::chrono::nanoseconds>(last * 2, 1min);
}

bool should_restart(const spec::RestartPolicy& policy, const Ending& ending) {
  if (ending.was_asked_for) return false;
  if (policy.name == "always") return true;
  if (policy.name == "unless-stopped") return !ending.manually_stopped;
  if (policy.name == "on-failure") return failed_and_may_retry(policy, ending);
  return false;
}

bool should_restart_at_boot(const spec::RestartPolicy& policy, const Ending& ending) {
  if (policy.name == "always") return true;
  if (policy.name == "unless-stopped") return !ending.manually_stopped;
  if (policy.name == "on-failure") return !ending.manually_stopped && failed_and_may_retry(policy, ending);
  return false;
}

}  // namespace corten::engine
