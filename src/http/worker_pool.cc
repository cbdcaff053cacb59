#include "http/worker_pool.h"

#include <pthread.h>

#include <algorithm>
#include <chrono>
#include <csignal>

namespace corten::http {
namespace {

using namespace std::chrono_literals;

constexpr auto idle_life = 10s;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr std::size_t min_stack_size = 2 << 20;  // instrumented frames are several times larger
#else
constexpr std::size_t min_stack_size = 64 << 10;
#endif

struct Start {
  std::shared_ptr<WorkerPool> pool;
  WorkerPool::Job body;
};

}  // namespace

// Lives on its thread's stack. All fields are guarded by the mutex of the pool that it belongs to, which a field cannot
// say of another object: they are reached through idle_, which does say it, and by the worker itself.
struct WorkerPool::Worker {
  CondVar wake;
  Job job;
  bool ready = false;
};

WorkerPool::WorkerPool(std::size_t max_threads, std::size_t stack_size)
    : max_threads_(max_threads), stack_size_(std::max(stack_size, min_stack_size)) {}

Result<> WorkerPool::submit(Job job) {
  {
    const MutexLock lock(mutex_);
    if (stopped_) return fail(ErrorKind::unavailable, "the server is shutting down");
    if (!idle_.empty()) {
      Worker* worker = idle_.back();
      idle_.pop_back();
      worker->job = std::move(job);
      worker->ready = true;
      worker->wake.notify_one();
      return {};
    }
    if (threads_ == max_threads_) return fail(ErrorKind::exhausted, "all {} threads are busy", max_threads_);
    ++threads_;
  }
  auto started = start_thread(std::move(job));
  if (!started) {
    const MutexLock lock(mutex_);
    --threads_;
  }
  return started;
}

Result<> WorkerPool::start_thread(Job job) {
  auto start = std::make_unique<Start>(shared_from_this(), std::move(job));
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, stack_size_);
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  const auto entry = [](void* argument) -> void* {
    const std::unique_ptr<Start> own(static_cast<Start*>(argument));
    own->pool->work(std::move(own->body));
    return nullptr;
  };
  pthread_t thread{};
  const int error = pthread_create(&thread, &attributes, entry, start.get());
  pthread_attr_destroy(&attributes);
  if (error != 0) return std::unexpected(Error(ErrorKind::exhausted, "start a thread: " + errno_text(error), error));
  static_cast<void>(start.release());
  return {};
}

void WorkerPool::work(Job job) {
  Worker self;
  for (;;) {
    job();
    job = nullptr;
    MutexLock lock(mutex_);
    if (!wait_for_job(self, lock)) {
      --threads_;
      return;
    }
    self.ready = false;
    job = std::move(self.job);
  }
}

bool WorkerPool::wait_for_job(Worker& self, MutexLock& lock) {
  if (stopped_) return false;
  idle_.push_back(&self);
  const auto deadline = std::chrono::steady_clock::now() + idle_life;
  self.wake.wait_until(lock, deadline, [&]() REQUIRES(mutex_) { return self.ready || stopped_; });
  // One idle thread stays for ever, so that the first request after a quiet time does not wait for a new one.
  while (!self.ready && !stopped_ && idle_.size() == 1) self.wake.wait(lock);
  if (!self.ready) std::erase(idle_, &self);
  return self.ready;
}

void WorkerPool::stop() {
  const MutexLock lock(mutex_);
  stopped_ = true;
  for (Worker* worker : idle_) worker->wake.notify_one();
}

std::size_t WorkerPool::threads() const {
  const MutexLock lock(mutex_);
  return threads_;
}

}  // namespace corten::http
