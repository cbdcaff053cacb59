#include "engine/oom_monitor.h"

#include <sys/epoll.h>

#include "base/log.h"
#include "sys/cgroup_dir.h"
#include "sys/cgroup_oom.h"

namespace corten::engine {

struct OomMonitor::Watched {
  std::string id;
  std::string path;
  sys::OomWatch watch;
  std::uint64_t kills = 0;
};

namespace {

// The kernel gives notice before it kills, so a kill that does not show yet is looked for again.
constexpr std::chrono::milliseconds look_interval{20};
constexpr int looks = 100, first_looks = 10;

}  // namespace

OomMonitor::OomMonitor(const sys::CgroupHost& host, std::function<void(const std::string& id)> killed)
    : host_(host), killed_(std::move(killed)) {}

OomMonitor::~OomMonitor() {
  {
    const MutexLock lock(mutex_);
    ending_ = true;
    if (wake_) (void)sys::eventfd_signal(wake_.get());
  }
  if (thread_.joinable()) thread_.join();
}

bool OomMonitor::start() {
  if (thread_.joinable()) return true;
  auto epoll = sys::Epoll::create();
  auto wake = sys::make_eventfd();
  if (!epoll || !wake || !epoll->add(wake->get(), EPOLLIN, 0)) return false;
  epoll_ = std::move(*epoll);
  wake_ = std::move(*wake);
  thread_ = std::thread([this] { run(); });
  return true;
}

void OomMonitor::watch(const std::string& id, const std::string& cgroup_path) {
  auto group = sys::CgroupDir::open(host_.trees(), cgroup_path);
  if (!group) return;
  auto watch = sys::OomWatch::open(*group);
  if (!watch) {
    log::debug("container {}: no notice of out-of-memory kills: {}", id.substr(0, 12), watch.error().text());
    return;
  }
  const int fd = watch->fd();
  auto entry = std::make_unique<Watched>(Watched{id, cgroup_path, std::move(*watch), 0});
  const MutexLock lock(mutex_);
  if (!start()) return;
  const std::uint64_t token = next_++;
  if (!epoll_->add(fd, EPOLLIN, token)) return;
  watched_.emplace(token, std::move(entry));
  tokens_[id] = token;
  // A kill may have been quicker than this watch, and then there is no notice of it.
  fresh_.push_back(token);
  (void)sys::eventfd_signal(wake_.get());
}

void OomMonitor::forget(const std::string& id) {
  const MutexLock lock(mutex_);
  const auto found = tokens_.find(id);
  if (found == tokens_.end()) return;
  // Closing the descriptor takes it out of the epoll set; a notice on its way finds no token.
  watched_.erase(found->second);
  tokens_.erase(found);
}

void OomMonitor::run() {
  std::vector<sys::Epoll::Event> events;
  for (;;) {
    if (!epoll_->wait(events, pending_.empty() ? std::chrono::milliseconds(-1) : look_interval)) return;
    for (const auto& event : events) {
      if (event.token != 0) pending_[event.token] = looks;
    }
    take_fresh();
    for (auto entry = pending_.begin(); entry != pending_.end();) {
      const bool done = look(entry->first) || --entry->second <= 0;
      entry = done ? pending_.erase(entry) : std::next(entry);
    }
    const MutexLock lock(mutex_);
    if (ending_) return;
  }
}

void OomMonitor::take_fresh() {
  const MutexLock lock(mutex_);
  if (fresh_.empty()) return;
  (void)sys::eventfd_read(wake_.get());
  for (const std::uint64_t token : fresh_) pending_.emplace(token, first_looks);
  fresh_.clear();
}

bool OomMonitor::look(std::uint64_t token) {
  std::string id;
  {
    const MutexLock lock(mutex_);
    const auto found = watched_.find(token);
    if (found == watched_.end()) return true;
    Watched& entry = *found->second;
    entry.watch.drain();
    const auto group = sys::CgroupDir::open(host_.trees(), entry.path);
    const std::uint64_t kills = group ? sys::oom_kill_count(*group).value_or(0) : 0;
    if (!group) {
      // The end of the group is a notice, too; without this it would come again and again.
      watched_.erase(found);
      return true;
    }
    if (kills <= entry.kills) return false;
    entry.kills = kills;
    id = entry.id;
  }
  killed_(id);
  return true;
}

}  // namespace corten::engine
