#include "base/units.h"

#include <fmt/format.h>

#include <cmath>
#include <cstdint>

namespace corten {

std::string human_duration(std::chrono::nanoseconds duration) {
  const double exact_hours = std::chrono::duration<double, std::ratio<3600>>(duration).count();
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(duration).count();
  const auto minutes = std::chrono::duration_cast<std::chrono::minutes>(duration).count();
  // Docker rounds hours and truncates everything else.
  const auto hours = std::llround(exact_hours);
  if (seconds < 1) return "Less than a second";
  if (seconds == 1) return "1 second";
  if (seconds < 60) return fmt::format("{} seconds", seconds);
  if (minutes == 1) return "About a minute";
  if (minutes < 60) return fmt::format("{} minutes", minutes);
  if (hours == 1) return "About an hour";
  if (hours < 48) return fmt::format("{} hours", hours);
  if (hours < 24 * 7 * 2) return fmt::format("{} days", hours / 24);
  if (hours < 24 * 30 * 2) return fmt::format("{} weeks", hours / 24 / 7);
  if (hours < 24 * 365 * 2) return fmt::format("{} months", hours / 24 / 30);
  return fmt::format("{} years", static_cast<std::int64_t>(exact_hours) / 24 / 365);
}

}  // namespace corten
