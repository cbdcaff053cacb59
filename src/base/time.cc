#include "base/time.h"

#include <charconv>
#include <cstdint>
#include <cstdio>
#include <ctime>

namespace corten {
namespace {

using std::chrono::nanoseconds;
using std::chrono::seconds;

struct Split {
  std::tm calendar;
  long fraction;
};

Split split(Timestamp time) {
  const auto whole = std::chrono::floor<seconds>(time.time_since_epoch());
  const std::time_t unix_seconds = whole.count();
  Split parts{};
  gmtime_r(&unix_seconds, &parts.calendar);
  parts.fraction = (time.time_since_epoch() - whole).count();
  return parts;
}

std::string date_and_time(const std::tm& t) {
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}", t.tm_year + 1900, t.tm_mon + 1, t.tm_mday, t.tm_hour,
                     t.tm_min, t.tm_sec);
}

bool take_digits(std::string_view& text, std::size_t count, int& out) {
  if (text.size() < count) return false;
  const auto [end, error] = std::from_chars(text.data(), text.data() + count, out);
  if (error != std::errc() || end != text.data() + count || text[0] == '-') return false;
  text.remove_prefix(count);
  return true;
}

bool take(std::string_view& text, char expected) {
  if (text.empty() || text[0] != expected) return false;
  text.remove_prefix(1);
  return true;
}

// Up to nine digits after the point, scaled to nanoseconds; further digits are read and dropped.
bool take_fraction(std::string_view& text, long& out) {
  std::size_t digits = 0;
  long value = 0;
  while (digits < text.size() && text[digits] >= '0' && text[digits] <= '9') {
    if (digits < 9) value = value * 10 + (text[digits] - '0');
    ++digits;
  }
  for (std::size_t i = digits; i < 9; ++i) value *= 10;
  text.remove_prefix(digits);
  out = value;
  return digits > 0;
}

struct Parsed {
  std::tm calendar{};
  long fraction = 0;
  bool has_zone = false;
  int offset_seconds = 0;
};

bool take_zone(std::string_view& text, Parsed& parsed) {
  if (take(text, 'Z')) {
    parsed.has_zone = true;
    return true;
  }
  const bool negative = !text.empty() && text[0] == '-';
  if (!negative && (text.empty() || text[0] != '+')) return false;
  text.remove_prefix(1);
  int hours = 0;
  int minutes = 0;
  if (!take_digits(text, 2, hours) || !take(text, ':') || !take_digits(text, 2, minutes)) return false;
  if (hours > 23 || minutes > 59) return false;
  parsed.has_zone = true;
  parsed.offset_seconds = (hours * 3600 + minutes * 60) * (negative ? -1 : 1);
  return true;
}

bool parse_calendar(std::string_view text, bool allow_partial, Parsed& parsed) {
  std::tm& t = parsed.calendar;
  int year = 0;
  int month = 0;
  if (!take_digits(text, 4, year) || !take(text, '-') || !take_digits(text, 2, month) || !take(text, '-') ||
      !take_digits(text, 2, t.tm_mday))
    return false;
  if (month < 1 || month > 12 || t.tm_mday < 1 || t.tm_mday > 31) return false;
  t.tm_year = year - 1900;
  t.tm_mon = month - 1;
  if (allow_partial && text.empty()) return true;
  if (!take(text, 'T') && !take(text, 't') && !take(text, ' ')) return false;
  if (!take_digits(text, 2, t.tm_hour) || !take(text, ':') || !take_digits(text, 2, t.tm_min)) return false;
  if (take(text, ':')) {
    if (!take_digits(text, 2, t.tm_sec)) return false;
    if (take(text, '.') && !take_fraction(text, parsed.fraction)) return false;
  } else if (!allow_partial) {
    return false;
  }
  if (t.tm_hour > 23 || t.tm_min > 59 || t.tm_sec > 60) return false;
  if (text.empty()) return allow_partial;
  return take_zone(text, parsed) && text.empty();
}

// 64 bits of nanoseconds reach to the year 2262: what is beyond (year 9999 for "never") becomes the farthest time, with
// room for what is added to it.
constexpr std::int64_t farthest_seconds = 8'000'000'000;  // the year 2223, and 1716

Timestamp bounded(std::int64_t unix_seconds, std::int64_t fraction) {
  if (unix_seconds >= farthest_seconds) return Timestamp(seconds(farthest_seconds));
  if (unix_seconds < -farthest_seconds) return Timestamp(seconds(-farthest_seconds));
  return Timestamp(seconds(unix_seconds) + nanoseconds(fraction));
}

Timestamp to_timestamp(Parsed parsed) {
  std::time_t unix_seconds = 0;
  if (parsed.has_zone) {
    unix_seconds = timegm(&parsed.calendar) - parsed.offset_seconds;
  } else {
    parsed.calendar.tm_isdst = -1;
    unix_seconds = mktime(&parsed.calendar);
  }
  return bounded(unix_seconds, parsed.fraction);
}

// Nanoseconds of one unit; 0 when it is none.
double unit_length(std::string_view unit) {
  if (unit == "ns") return 1;
  if (unit == "us" || unit == "µs") return 1e3;
  if (unit == "ms") return 1e6;
  if (unit == "s") return 1e9;
  if (unit == "m") return 60e9;
  if (unit == "h") return 3600e9;
  return 0;
}

bool parse_unix_time(std::string_view text, Timestamp& out) {
  long whole = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), whole);
  if (error != std::errc()) return false;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  long fraction = 0;
  if (take(text, '.') && !take_fraction(text, fraction)) return false;
  if (!text.empty() || whole < 0) return false;
  out = bounded(whole, fraction);
  return true;
}

}  // namespace

Timestamp now() { return std::chrono::time_point_cast<nanoseconds>(Clock::now()); }

std::string format_rfc3339(Timestamp time) {
  if (time == Timestamp()) return std::string(zero_time_text);
  const Split parts = split(time);
  std::string text = date_and_time(parts.calendar);
  if (parts.fraction != 0) {
    std::string digits = fmt::format(".{:09}", parts.fraction);
    digits.erase(digits.find_last_not_of('0') + 1);
    text += digits;
  }
  return text + 'Z';
}

std::string format_rfc3339_fixed(Timestamp time) {
  const Split parts = split(time);
  return fmt::format("{}.{:09}Z", date_and_time(parts.calendar), parts.fraction);
}

Result<Timestamp> parse_rfc3339(std::string_view text) {
  if (text == zero_time_text) return Timestamp();
  Parsed parsed;
  if (!parse_calendar(text, false, parsed)) return fail(ErrorKind::invalid, "invalid time \"{}\": want RFC 3339", text);
  return to_timestamp(parsed);
}

Result<nanoseconds> parse_duration(std::string_view text) {
  const std::string_view whole = text;
  const auto bad = [&] { return fail(ErrorKind::invalid, "invalid duration \"{}\"", whole); };
  const bool negative = !text.empty() && text[0] == '-';
  if (negative || (!text.empty() && text[0] == '+')) text.remove_prefix(1);
  if (text == "0") return nanoseconds(0);
  if (text.empty()) return bad();
  double total = 0;
  while (!text.empty()) {
    const std::size_t number_end = text.find_first_not_of("0123456789.");
    if (number_end == 0 || number_end == std::string_view::npos) return bad();
    double number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + number_end, number, std::chars_format::fixed);
    if (error != std::errc() || end != text.data() + number_end) return bad();
    text.remove_prefix(number_end);
    const std::string_view unit = text.substr(0, text.find_first_of("0123456789."));
    if (unit_length(unit) == 0) return bad();
    total += number * unit_length(unit);
    text.remove_prefix(unit.size());
  }
  if (total > 9.2e18) return bad();
  const nanoseconds length(static_cast<std::int64_t>(total));
  return negative ? -length : length;
}

Result<Timestamp> parse_time_filter(std::string_view text, Timestamp reference) {
  Timestamp time;
  if (parse_unix_time(text, time)) return time;
  Parsed parsed;
  if (parse_calendar(text, true, parsed)) return to_timestamp(parsed);
  if (const auto duration = parse_duration(text)) {
    const auto back = std::chrono::floor<seconds>(*duration);
    const auto from = std::chrono::floor<seconds>(reference.time_since_epoch());
    const auto fraction = (reference.time_since_epoch() - from) - (*duration - back);
    return bounded((from - back).count(), fraction.count());
  }
  return fail(ErrorKind::invalid, "invalid value \"{}\": want a time (RFC 3339 or Unix) or a duration", text);
}

}  // namespace corten
