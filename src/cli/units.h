// Sizes and durations as Docker words them.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "base/units.h"

namespace corten::cli {

// Powers of 1000, "1.23kB": `digits` significant ones.
std::string human_size(double bytes, int digits = 4);
// Powers of 1024, "1.5MiB".
std::string bytes_size(double bytes);
using corten::human_duration;
// %.<digits>g as C and Go print it.
std::string significant(double number, int digits);

}  // namespace corten::cli
