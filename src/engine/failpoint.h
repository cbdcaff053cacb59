// Places where a test kills the daemon: CORTEN_FAILPOINT=start.after_network in the environment makes the process send
// itself SIGKILL there, CORTEN_FAILPOINT=start.after_network:3 at the third time. Without the variable a place costs
// one comparison.
#pragma once

#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <string_view>

namespace corten::engine {

namespace detail {

struct ArmedFailpoint {
  std::string_view name;
  std::atomic<int> left = 1;
  ArmedFailpoint() {
    const char* text = std::getenv("CORTEN_FAILPOINT");
    if (text == nullptr) return;
    name = text;
    if (const auto colon = name.find(':'); colon != std::string_view::npos) {
      left = std::atoi(text + colon + 1);
      name = name.substr(0, colon);
    }
  }
};

}  // namespace detail

inline void failpoint(std::string_view name) {
  static detail::ArmedFailpoint armed;
  if (armed.name.empty() || armed.name != name) return;
  if (--armed.left == 0) ::kill(::getpid(), SIGKILL);
}

}  // namespace corten::engine
