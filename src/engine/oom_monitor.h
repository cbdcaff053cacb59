// Tells of out-of-memory kills while containers go on running: the `oom` event and State.OOMKilled. One thread for all,
// started with the first container that has a memory limit.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/mutex.h"
#include "sys/cgroup_host.h"
#include "sys/events.h"

namespace corten::engine {

class OomMonitor {
 public:
  // `killed` is called on the monitor's thread, once for each notice that comes with new kills; it must not block.
  OomMonitor(const sys::CgroupHost& host, std::function<void(const std::string& id)> killed);
  ~OomMonitor();
  OomMonitor(const OomMonitor&) = delete;
  OomMonitor& operator=(const OomMonitor&) = delete;

  // The container's group, as long as it runs, from its start: kills that came before this call are told, too. A group
  // that cannot be watched is not; its end still tells.
  void watch(const std::string& id, const std::string& cgroup_path) EXCLUDES(mutex_);
  void forget(const std::string& id) EXCLUDES(mutex_);

 private:
  struct Watched;
  bool start() REQUIRES(mutex_);
  void run() EXCLUDES(mutex_);
  void take_fresh() EXCLUDES(mutex_);
  bool look(std::uint64_t token) EXCLUDES(mutex_);  // true: done with this notice

  const sys::CgroupHost& host_;
  const std::function<void(const std::string&)> killed_;
  Mutex mutex_;
  std::map<std::uint64_t, std::unique_ptr<Watched>> watched_ GUARDED_BY(mutex_);
  std::map<std::string, std::uint64_t> tokens_ GUARDED_BY(mutex_);
  std::uint64_t next_ GUARDED_BY(mutex_) = 1;
  UniqueFd wake_ GUARDED_BY(mutex_);
  std::vector<std::uint64_t> fresh_ GUARDED_BY(mutex_);  // tokens that nobody has looked at yet
  bool ending_ GUARDED_BY(mutex_) = false;
  std::thread thread_ GUARDED_BY(mutex_);
  // Made by start() before the thread, then constant.
  std::optional<sys::Epoll> epoll_;
  // The thread's own: notices by token, and how often to look for their kills.
  std::map<std::uint64_t, int> pending_;
};

}  // namespace corten::engine
