#include "base/time.h"

#include <gtest/gtest.h>

namespace corten {
namespace {

using namespace std::chrono_literals;

TEST(Time, PrintsAsGoDoes) {
  EXPECT_EQ(format_rfc3339(Timestamp()), "0001-01-01T00:00:00Z");
  EXPECT_EQ(format_rfc3339(Timestamp(1s)), "1970-01-01T00:00:01Z");
  EXPECT_EQ(format_rfc3339(Timestamp(1s + 120ms)), "1970-01-01T00:00:01.12Z");
  EXPECT_EQ(format_rfc3339_fixed(Timestamp(1s + 120ms)), "1970-01-01T00:00:01.120000000Z");
}

TEST(Time, ParsesBackWhatItPrints) {
  const Timestamp time(1'700'000'000s + 123456789ns);
  EXPECT_EQ(*parse_rfc3339(format_rfc3339(time)), time);
  EXPECT_EQ(*parse_rfc3339("2023-11-14T23:13:20.123456789+01:00"), time);
  EXPECT_EQ(*parse_rfc3339(zero_time_text), Timestamp());
}

TEST(Time, RefusesWhatIsNoTime) {
  for (const char* text : {"", "yesterday", "2023-13-01T00:00:00Z", "2023-01-01", "2023-01-01T00:00:00",
                           "2023-01-01T25:00:00Z", "2023-01-01T00:00:00Zjunk", "2023-01-01T00:00:00+99:00"})
    EXPECT_FALSE(parse_rfc3339(text)) << text;
}

// What 64 bits cannot hold must not come back as some other time, let alone as undefined behaviour.
TEST(Time, FarAwayTimesStayFarAway) {
  const Timestamp far = *parse_rfc3339("9999-12-31T23:59:59.999999999Z");
  EXPECT_GT(far, *parse_rfc3339("2200-01-01T00:00:00Z"));
  EXPECT_GT(far + 24h, far);
  EXPECT_LT(*parse_rfc3339("0001-01-02T00:00:00Z"), *parse_rfc3339("1800-01-01T00:00:00Z"));
  const Timestamp reference(1'700'000'000s);
  EXPECT_EQ(*parse_time_filter("99999999999999", reference), far);
  EXPECT_EQ(*parse_time_filter("-2550000h", reference), far);
  EXPECT_LT(*parse_time_filter("2550000h", reference), reference);
  EXPECT_LT(*parse_time_filter("0001-01-01T00:00:00Z", reference), reference);
  EXPECT_EQ(*parse_time_filter("1500ms", reference), reference - 1500ms);
}

TEST(Time, Durations) {
  EXPECT_EQ(*parse_duration("1h1m1.5s"), 3661s + 500ms);
  EXPECT_EQ(*parse_duration("-5ms"), -5ms);
  EXPECT_EQ(*parse_duration("0"), 0ns);
  for (const char* text : {"", "5", "s", "1x", "1m2", "--1s", "1e400h", "99999999999h"})
    EXPECT_FALSE(parse_duration(text)) << text;
}

TEST(Time, Filters) {
  const Timestamp reference(1'700'000'000s);
  EXPECT_EQ(*parse_time_filter("10m", reference), reference - 10min);
  EXPECT_EQ(*parse_time_filter("1136073600.5", reference), Timestamp(1136073600s + 500ms));
  EXPECT_EQ(*parse_time_filter("2023-11-14T22:13:20Z", reference), reference);
  EXPECT_FALSE(parse_time_filter("soon", reference));
}

}  // namespace
}  // namespace corten
