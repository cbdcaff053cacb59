// Threads where there may be no more: an error instead of an exception that ends the process.
#pragma once

#include <system_error>
#include <thread>
#include <utility>

#include "base/error.h"

namespace corten {

// `Thread` is std::thread or std::jthread. `exhausted` where the system gives no more.
template <class Thread = std::thread, class Work>
Result<Thread> start_thread(Work work) {
  try {
    return Thread(std::move(work));
  } catch (const std::system_error& error) {
    return fail(ErrorKind::exhausted, "start a thread: {}", error.code().message());
  }
}

}  // namespace corten
