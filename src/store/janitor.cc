#include "store/janitor.h"

#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace corten::store {
namespace {

using namespace std::chrono_literals;
constexpr auto flush_delay = 2s;
// Removals wait for a quiet moment: dozens of `rm` in a row should not compete with their own leftovers.
constexpr auto removal_delay = 20ms;
constexpr auto retry_delay = 500ms;

}  // namespace

Janitor::Janitor(Remove remove, std::function<void()> flush)
    : remove_(std::move(remove)), flush_(std::move(flush)), thread_([this] { work(); }) {}

Janitor::~Janitor() {
  {
    const MutexLock lock(mutex_);
    stop_ = true;
  }
  wake_.notify_all();
  thread_.join();
}

void Janitor::remove(std::string name) {
  bool first = false;
  {
    const MutexLock lock(mutex_);
    first = names_.empty();
    names_.push_back(std::move(name));
  }
  if (first) wake_.notify_all();
}

void Janitor::flush_soon() {
  {
    const MutexLock lock(mutex_);
    flush_wanted_ = true;
  }
  wake_.notify_all();
}

void Janitor::work() {
  // Others first: on Linux the nice value is the thread's own.
  ::setpriority(PRIO_PROCESS, static_cast<id_t>(::syscall(SYS_gettid)), 5);
  MutexLock lock(mutex_);
  for (;;) {
    wake_.wait(lock, [&]() REQUIRES(mutex_) { return stop_ || flush_wanted_ || !names_.empty(); });
    if (!names_.empty()) wake_.wait_for(lock, removal_delay, [&]() REQUIRES(mutex_) { return stop_.load(); });
    std::deque<std::string> again;
    while (!stop_ && !names_.empty()) {
      const std::string name = std::move(names_.front());
      names_.pop_front();
      lock.unlock();
      const bool done = remove_(name, stop_);
      lock.lock();
      if (!done) again.push_back(name);
    }
    if (!again.empty()) {
      wake_.wait_for(lock, retry_delay, [&]() REQUIRES(mutex_) { return stop_.load(); });
      names_.insert(names_.end(), again.begin(), again.end());
    }
    if (stop_) return;
    if (!flush_wanted_) continue;
    wake_.wait_for(lock, flush_delay, [&]() REQUIRES(mutex_) { return stop_ || !names_.empty(); });
    if (stop_) return;
    if (!names_.empty()) continue;
    flush_wanted_ = false;
    lock.unlock();
    flush_();
    lock.lock();
  }
}

}  // namespace corten::store
