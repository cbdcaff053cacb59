// Locks that the compiler can check: std's own with clang's thread-safety annotations on them. Which lock guards what
// is written beside the field, and clang (-Wthread-safety, in tools/lint) refuses an access without it; under g++ the
// macros are empty and the types are std's at no cost.
//
//   class Shelf {
//    public:
//     void put(Item item) EXCLUDES(mutex_) {
//       const MutexLock lock(mutex_);
//       items_.push_back(std::move(item));
//       changed_.notify_one();
//     }
//     Item take() {
//       MutexLock lock(mutex_);
//       changed_.wait(lock, [this]() REQUIRES(mutex_) { return !items_.empty(); });
//       return pop();
//     }
//    private:
//     Item pop() REQUIRES(mutex_);          // to be called with the lock held
//     Mutex mutex_;
//     CondVar changed_;
//     std::deque<Item> items_ GUARDED_BY(mutex_);
//   };
//
// A lambda is checked as a function of its own: one that is called with the lock held says REQUIRES after its
// parameter list (which it must have then, also when empty). Constructors and destructors are not checked.
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <stop_token>
#include <utility>

#if defined(__clang__)
#define CORTEN_THREAD_ANNOTATION(x) __attribute__((x))
#else
#define CORTEN_THREAD_ANNOTATION(x)
#endif

// On fields: the field itself, or what the pointer in it points to, is used only with this lock held.
#define GUARDED_BY(...) CORTEN_THREAD_ANNOTATION(guarded_by(__VA_ARGS__))
#define PT_GUARDED_BY(...) CORTEN_THREAD_ANNOTATION(pt_guarded_by(__VA_ARGS__))
// On functions: the caller holds the lock, holds it at least shared, does not hold it.
#define REQUIRES(...) CORTEN_THREAD_ANNOTATION(requires_capability(__VA_ARGS__))
#define REQUIRES_SHARED(...) CORTEN_THREAD_ANNOTATION(requires_shared_capability(__VA_ARGS__))
#define EXCLUDES(...) CORTEN_THREAD_ANNOTATION(locks_excluded(__VA_ARGS__))
// On functions: takes the lock and returns with it, gives it back; tries, and has it when `true` comes back.
#define ACQUIRE(...) CORTEN_THREAD_ANNOTATION(acquire_capability(__VA_ARGS__))
#define ACQUIRE_SHARED(...) CORTEN_THREAD_ANNOTATION(acquire_shared_capability(__VA_ARGS__))
#define RELEASE(...) CORTEN_THREAD_ANNOTATION(release_capability(__VA_ARGS__))
#define RELEASE_SHARED(...) CORTEN_THREAD_ANNOTATION(release_shared_capability(__VA_ARGS__))
#define RELEASE_GENERIC(...) CORTEN_THREAD_ANNOTATION(release_generic_capability(__VA_ARGS__))
#define TRY_ACQUIRE(...) CORTEN_THREAD_ANNOTATION(try_acquire_capability(__VA_ARGS__))
// On a function that hands out a reference to the lock.
#define RETURN_CAPABILITY(x) CORTEN_THREAD_ANNOTATION(lock_returned(x))
// On types: a lock, an owner of one.
#define CAPABILITY(name) CORTEN_THREAD_ANNOTATION(capability(name))
#define SCOPED_CAPABILITY CORTEN_THREAD_ANNOTATION(scoped_lockable)
// On a function whose locking the analysis cannot follow; say beside it why it is right.
#define NO_THREAD_SAFETY_ANALYSIS CORTEN_THREAD_ANNOTATION(no_thread_safety_analysis)

namespace corten {

class CAPABILITY("mutex") Mutex {
 public:
  Mutex() = default;
  Mutex(const Mutex&) = delete;
  Mutex& operator=(const Mutex&) = delete;

  void lock() ACQUIRE() { mutex_.lock(); }
  void unlock() RELEASE() { mutex_.unlock(); }
  bool try_lock() TRY_ACQUIRE(true) { return mutex_.try_lock(); }

 private:
  friend class MutexLock;
  std::mutex mutex_;
};

// Holds a Mutex for a scope; may be let go and taken again within it.
class SCOPED_CAPABILITY [[nodiscard]] MutexLock {
 public:
  explicit MutexLock(Mutex& mutex) ACQUIRE(mutex) : lock_(mutex.mutex_) {}
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;
  ~MutexLock() RELEASE() {}  // NOLINT(modernize-use-equals-default): an attribute needs a body

  void lock() ACQUIRE() { lock_.lock(); }
  void unlock() RELEASE() { lock_.unlock(); }

 private:
  template <class Condition>
  friend class BasicCondVar;
  std::unique_lock<std::mutex> lock_;
};

// Waits come back with the lock held, as they were called. The predicate is called with it held, which the analysis
// cannot see from in here: the predicate itself says REQUIRES and is checked where it is written.
template <class Condition>
class BasicCondVar {
 public:
  void notify_one() noexcept { condition_.notify_one(); }
  void notify_all() noexcept { condition_.notify_all(); }

  void wait(MutexLock& lock) { condition_.wait(lock.lock_); }
  template <class Predicate>
  void wait(MutexLock& lock, Predicate predicate) NO_THREAD_SAFETY_ANALYSIS {
    condition_.wait(lock.lock_, std::move(predicate));
  }

  template <class Rep, class Period>
  std::cv_status wait_for(MutexLock& lock, const std::chrono::duration<Rep, Period>& limit) {
    return condition_.wait_for(lock.lock_, limit);
  }
  // False: the time was over and the predicate still false. The same below.
  template <class Rep, class Period, class Predicate>
  bool wait_for(MutexLock& lock, const std::chrono::duration<Rep, Period>& limit,
                Predicate predicate) NO_THREAD_SAFETY_ANALYSIS {
    return condition_.wait_for(lock.lock_, limit, std::move(predicate));
  }

  template <class Clock, class Duration>
  std::cv_status wait_until(MutexLock& lock, const std::chrono::time_point<Clock, Duration>& deadline) {
    return condition_.wait_until(lock.lock_, deadline);
  }
  template <class Clock, class Duration, class Predicate>
  bool wait_until(MutexLock& lock, const std::chrono::time_point<Clock, Duration>& deadline,
                  Predicate predicate) NO_THREAD_SAFETY_ANALYSIS {
    return condition_.wait_until(lock.lock_, deadline, std::move(predicate));
  }

 protected:
  static std::unique_lock<std::mutex>& std_lock(MutexLock& lock) { return lock.lock_; }
  Condition condition_;
};

using CondVar = BasicCondVar<std::condition_variable>;

// One whose waits also end when a stop is requested; they give the predicate's value then. Costs a second lock inside.
class StopCondVar : public BasicCondVar<std::condition_variable_any> {
 public:
  using BasicCondVar::wait;
  using BasicCondVar::wait_for;
  using BasicCondVar::wait_until;

  template <class Predicate>
  bool wait(MutexLock& lock, const std::stop_token& stop, Predicate predicate) NO_THREAD_SAFETY_ANALYSIS {
    return condition_.wait(std_lock(lock), stop, std::move(predicate));
  }
  template <class Rep, class Period, class Predicate>
  bool wait_for(MutexLock& lock, const std::stop_token& stop, const std::chrono::duration<Rep, Period>& limit,
                Predicate predicate) NO_THREAD_SAFETY_ANALYSIS {
    return condition_.wait_for(std_lock(lock), stop, limit, std::move(predicate));
  }
  template <class Clock, class Duration, class Predicate>
  bool wait_until(MutexLock& lock, const std::stop_token& stop,
                  const std::chrono::time_point<Clock, Duration>& deadline,
                  Predicate predicate) NO_THREAD_SAFETY_ANALYSIS {
    return condition_.wait_until(std_lock(lock), stop, deadline, std::move(predicate));
  }
};

}  // namespace corten
