// Places where a test stops the program, to prove that a crash there leaves nothing half made. One atomic pointer that
// nothing but a test sets: the price in the product is one load.
#pragma once

#include <atomic>

namespace corten::store {

using FailpointHook = void (*)(const char* name);
inline std::atomic<FailpointHook> failpoint_hook{nullptr};

inline void failpoint(const char* name) {
  if (FailpointHook hook = failpoint_hook.load(std::memory_order_relaxed); hook != nullptr) hook(name);
}

}  // namespace corten::store
