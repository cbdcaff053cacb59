// For tests of what a daemon leaves that is killed at any step.
#pragma once

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <string>

#include "image/images.h"
#include "store/failpoint.h"
#include "store/store.h"

namespace corten::image {

inline std::atomic<int> crash_at = 0;  // layers are made by several threads
inline void crash(const char*) {
  if (--crash_at == 0) ::kill(::getpid(), SIGKILL);
}

// Runs `work` on a store of its own in a process that ends at the n-th failpoint; false once it gets to the end, or
// ends in a way that it should not.
template <class Work>
bool crashes(const std::string& data, int n, Work work) {
  const pid_t child = ::fork();
  if (child == 0) {
    auto store = store::Store::open(data);
    auto images = Images::open(**store);
    crash_at = n;
    store::failpoint_hook = crash;
    work(**store, **images);
    store::failpoint_hook = nullptr;
    images->reset();
    store->reset();
    ::_exit(0);
  }
  int status = 0;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  const bool killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
  EXPECT_TRUE(status == 0 || killed) << status;
  return killed;
}

}  // namespace corten::image
