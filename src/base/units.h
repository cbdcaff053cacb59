// Durations and sizes as Docker words them.
#pragma once

#include <chrono>
#include <string>

namespace corten {

// "Less than a second", "About a minute", "2 hours" …
std::string human_duration(std::chrono::nanoseconds duration);

}  // namespace corten
