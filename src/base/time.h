// Wall-clock times as the API writes them. All durations in Corten are std::chrono types, never bare numbers.
#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "base/error.h"

namespace corten {

using Clock = std::chrono::system_clock;
// Nanoseconds since 1970-01-01T00:00:00Z.
using Timestamp = std::chrono::time_point<Clock, std::chrono::nanoseconds>;

// Go's zero time, which Docker prints for "never".
inline constexpr std::string_view zero_time_text = "0001-01-01T00:00:00Z";

Timestamp now();
// RFC 3339 in UTC with up to nine fractional digits, trailing zeros dropped as Go's RFC3339Nano does.
// A default-constructed Timestamp (the epoch) prints as zero_time_text.
std::string format_rfc3339(Timestamp time);
// The same with exactly nine digits, as `logs -t` prints it.
std::string format_rfc3339_fixed(Timestamp time);
// RFC 3339 with or without fraction and with any offset; zero_time_text gives the default Timestamp.
Result<Timestamp> parse_rfc3339(std::string_view text);
// Go's duration syntax ("1m30s", "1.5h", "300ms"); errors name the text.
Result<std::chrono::nanoseconds> parse_duration(std::string_view text);
// What --since and --until take: RFC 3339 (also without zone or with a date only, then local), a Unix time
// "1136073600.000000001", or a duration before `reference`.
Result<Timestamp> parse_time_filter(std::string_view text, Timestamp reference);

}  // namespace corten
