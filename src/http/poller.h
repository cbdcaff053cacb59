// Internal: one thread that waits on descriptors nobody else waits on: listening sockets, connections of running
// handlers (to see the client leave) and kept connections between requests.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <thread>
#include <unordered_map>

#include "base/error.h"
#include "base/mutex.h"
#include "base/unique_fd.h"

namespace corten::http {

class Poller {
 public:
  // Runs on the poller's thread, so it must be quick and must not block.
  using Callback = std::move_only_function<void()>;
  using Id = std::uint64_t;  // never 0

  Poller() = default;
  ~Poller() { stop(); }

  Result<> start();
  // Joins the thread and drops all callbacks with what they own.
  void stop() EXCLUDES(mutex_);

  // Calls back each time `events` (EPOLL*) are there, until removed.
  Result<Id> add(int fd, std::uint32_t events, Callback callback) EXCLUDES(mutex_);
  // Calls back at the first event and forgets the descriptor.
  Result<Id> add_once(int fd, std::uint32_t events, Callback callback) EXCLUDES(mutex_);
  // Before the descriptor is closed. True: the callback has not run and never will. False: it ran, or is running now.
  bool remove(Id id) EXCLUDES(mutex_);

 private:
  struct Entry {
    int fd = -1;
    bool once = false;
    std::shared_ptr<Callback> callback;
  };
  Result<Id> insert(int fd, std::uint32_t events, bool once, Callback callback) EXCLUDES(mutex_);
  void run();
  void dispatch(Id id) EXCLUDES(mutex_);

  // Set by start() and constant from then on; thread_ is joined by the one who stops.
  UniqueFd epoll_;
  UniqueFd wake_;
  std::thread thread_;

  Mutex mutex_;  // not held while a callback runs
  std::unordered_map<Id, Entry> entries_ GUARDED_BY(mutex_);
  Id next_id_ GUARDED_BY(mutex_) = 1;
};

}  // namespace corten::http
