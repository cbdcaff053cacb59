// A thread that enters other network namespaces so that no other thread has to: it makes namespaces and opens sockets
// inside them, one task at a time, and is back in the host's after each.
#pragma once

#include <deque>
#include <functional>
#include <future>
#include <thread>

#include "base/error.h"
#include "base/mutex.h"
#include "base/unique_fd.h"
#include "sys/netlink.h"

namespace corten::network {

class NamespaceWorker {
 public:
  // The caller's namespace is the host's. Starts the thread.
  static Result<std::unique_ptr<NamespaceWorker>> start();
  ~NamespaceWorker();

  // Runs `task` on the worker's thread, in the host's namespace, and waits for it. Urgent: before background work.
  Result<> run(const std::function<Result<>()>& task);
  // Asks for one call of `task` soon, at `delay` from now at the earliest; the latest request for the same key
  // replaces the one before.
  void schedule(const void* key, std::chrono::milliseconds delay, std::function<void()> task);
  // Takes a request back and waits until the task is not running.
  void cancel(const void* key);

  // For tasks only: what they do inside another namespace ends with the host's being entered again.
  struct Made {
    UniqueFd namespace_fd;
    sys::NetlinkSocket inside;  // rtnetlink
  };
  // A new namespace with lo still down and IPv6 off on whatever is added to it. `announce`: its address, when it comes
  // up, is told to the neighbours.
  Result<Made> make_namespace(bool announce);
  // Opens an rtnetlink socket inside an existing namespace, and prepares that for another interface.
  Result<sys::NetlinkSocket> enter_namespace(int namespace_fd, bool announce);

 private:
  explicit NamespaceWorker(UniqueFd host);
  void loop(const std::stop_token& stop);
  Result<> back_to_host();

  struct Background {
    const void* key;
    std::chrono::steady_clock::time_point when;
    std::function<void()> task;
  };

  const UniqueFd host_;
  Mutex mutex_;
  StopCondVar changed_;
  std::deque<std::packaged_task<Result<>()>> urgent_ GUARDED_BY(mutex_);
  std::deque<Background> background_ GUARDED_BY(mutex_);
  const void* running_ GUARDED_BY(mutex_) = nullptr;
  std::jthread thread_;  // last: the loop uses all of the above
};

}  // namespace corten::network
