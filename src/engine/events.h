// Docker's event stream: what happened, kept for a while, fanned out to listeners that cannot slow it down.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>

#include "base/error.h"
#include "base/mutex.h"
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
  void publish(Event event) EXCLUDES(mutex_);

  // Calls `deliver` for past events from `since` on (as far as they are kept) and then for new ones, in order and
  // without gaps, until `until` has passed, `stop` fires or `deliver` fails. A listener that is more than 10,000 events
  // behind gets the error `exhausted`.
  Result<> listen(std::optional<Timestamp> since, std::optional<Timestamp> until, const std::stop_token& stop,
                  const std::function<Result<>(const Event&)>& deliver) EXCLUDES(mutex_);

 private:
  const std::size_t kept_;
  Mutex mutex_;
  StopCondVar grown_;
  std::deque<std::shared_ptr<const Event>> events_ GUARDED_BY(mutex_);  // numbered first_ …
  std::uint64_t first_ GUARDED_BY(mutex_) = 0;
  std::size_t listeners_ GUARDED_BY(mutex_) = 0;
};

}  // namespace corten::engine
