// Docker's event stream: what happened, kept for a while, fanned out to listeners that cannot slow it down.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>

#include "base/error.h"
#include "base/time.h"

namespace corten::engine {

struct Event {
  std::string type;    // container, image, network, volume, daemon, builder
  std::string action;  // create, start, die, "exec_create: sh", "health_status: healthy", …
  std::string actor_id;
  std::map<std::string, std::string> attributes;
  std::string scope = "local";
  Timestamp time;
};

class EventBus {
 public:
  explicit EventBus(std::size_t kept = 256) : kept_(kept) {}

  // Never blocks on a listener. Fills in the time when it is unset.
  void publish(Event event);

  // Calls `deliver` for past events from `since` on (as far as they are kept) and then for new ones, in order and
  // without gaps, until `until` has passed, `stop` fires or `deliver` fails. A listener that is more than 10,000 events
  // behind gets the error `exhausted`.
  Result<> listen(std::optional<Timestamp> since, std::optional<Timestamp> until, std::stop_token stop,
                  const std::function<Result<>(const Event&)>& deliver);

 private:
  std::mutex mutex_;
  std::condition_variable_any grown_;
  std::deque<std::shared_ptr<const Event>> events_;  // numbered first_ …
  std::uint64_t first_ = 0;
  std::size_t kept_;
  std::size_t listeners_ = 0;
};

}  // namespace corten::engine
