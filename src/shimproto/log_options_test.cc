#include "shimproto/log_options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace corten::shimproto {
namespace {

using testing::Contains;
using testing::HasSubstr;
using testing::Pair;

LogIdentity identity() {
  LogIdentity who;
  who.container_id = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
  who.container_name = "web";
  who.image_id = "sha256:fedcba9876543210";
  who.image_name = "nginx:1";
  who.labels = {{"com.x.team", "a\"b"}, {"other", "o"}};
  who.env = {{"MODE", "<prod>"}, {"SECRET", "s"}};
  return who;
}

TEST(LogOptions, DriversAndOptionsAreKnownOrRefusedAsDockerDoes) {
  EXPECT_TRUE(validate_log_options("json-file", {{"max-size", "10m"}, {"max-file", "3"}, {"compress", "false"}}));
  EXPECT_TRUE(validate_log_options("none", {{"anything", "goes"}}));
  EXPECT_EQ(validate_log_options("gelf", {}).error().text(), "logger: no log driver named 'gelf' is registered");
  EXPECT_EQ(validate_log_options("json-file", {{"max-sise", "10m"}}).error().text(),
            "unknown log opt 'max-sise' for json-file log driver");
  EXPECT_EQ(validate_log_options("local", {{"tag", "x"}}).error().kind(), ErrorKind::invalid);
  EXPECT_EQ(validate_log_options("json-file", {{"max-file", "0"}}).error().text(), "max-file cannot be less than 1");
  EXPECT_EQ(validate_log_options("local", {{"mode", "sometimes"}}).error().text(),
            "logger: logging mode not supported: sometimes");
  EXPECT_THAT(validate_log_options("local", {{"max-buffer-size", "1m"}}).error().text(),
              HasSubstr("mode=non-blocking"));
  EXPECT_TRUE(validate_log_options("local", {{"mode", "non-blocking"}, {"max-buffer-size", "4m"}}));
  EXPECT_EQ(validate_log_options("local", {{"compress", "true"}}).error().kind(), ErrorKind::not_implemented);
  for (const char* bad : {"", "x", "10x", "m", "-5", "1e30g", "nan"})
    EXPECT_EQ(validate_log_options("local", {{"max-size", bad}}).has_value(), *bad == '\0') << bad;
  for (const char* bad : {"514", "ftp://x", "tcp://", "tcp://h:port", "unix://relative", "tcp://h:99999"})
    EXPECT_FALSE(validate_log_options("syslog", {{"syslog-address", bad}})) << bad;
  EXPECT_FALSE(validate_log_options("syslog", {{"syslog-format", "rfc1"}}));
  EXPECT_FALSE(validate_log_options("syslog", {{"syslog-facility", "local8"}}));
  EXPECT_FALSE(validate_log_options("json-file", {{"env-regex", "("}}));
  EXPECT_FALSE(validate_log_options("json-file", {{"tag", "{{.Nope}}"}}));
  EXPECT_FALSE(validate_log_options("json-file", {{"tag", "{{.Name"}}));
}

TEST(LogOptions, RotationIsOnByDefault) {
  const auto config = compile_log_config("json-file", {}, identity()).value();
  EXPECT_EQ(config.max_size, 20'000'000U);
  EXPECT_EQ(config.max_files, 5U);
  EXPECT_EQ(config.file_name, identity().container_id + "-json.log");
  EXPECT_EQ(config.attributes, "");
  EXPECT_EQ(compile_log_config("json-file", {{"max-size", "-1"}}, identity())->max_size, 0U);
  EXPECT_EQ(compile_log_config("local", {{"max-size", "1.5k"}}, identity())->max_size, 1500U);
  EXPECT_EQ(compile_log_config("local", {{"max-size", "2GB"}}, identity())->max_size, 2'000'000'000U);
}

TEST(LogOptions, AttributesAreSelectedAndEscaped) {
  const auto config = compile_log_config(
      "json-file", {{"labels-regex", "^com"}, {"env", "MODE,GONE"}, {"tag", "{{.Name}}/{{ .ID }}"}}, identity());
  EXPECT_EQ(config->attributes, R"({"MODE":"\u003cprod\u003e","com.x.team":"a\"b","tag":"web/0123456789ab"})");
}

TEST(LogOptions, SyslogAddressesAreResolved) {
  EXPECT_EQ(compile_log_config("syslog", {}, identity())->address, "unixgram:/dev/log");
  const auto config = compile_log_config(
      "syslog", {{"syslog-address", "udp://127.0.0.1"}, {"syslog-facility", "local4"}, {"tag", "{{.ImageName}}"}},
      identity());
  EXPECT_EQ(config->address, "udp:127.0.0.1:514");
  EXPECT_EQ(config->syslog_facility, 20U);
  EXPECT_EQ(config->tag, "nginx:1");
  EXPECT_EQ(config->file_name, "container-cached.log");
  EXPECT_EQ(compile_log_config("syslog", {{"syslog-address", "tcp://[::1]:99"}}, identity())->address, "tcp:[::1]:99");
  EXPECT_EQ(compile_log_config("syslog", {{"cache-disabled", "true"}}, identity())->file_name, "");
}

TEST(LogOptions, JournaldFields) {
  const auto config = compile_log_config("journald", {{"labels", "com.x.team"}}, identity()).value();
  EXPECT_THAT(config.fields, Contains(Pair("CONTAINER_NAME", "web")));
  EXPECT_THAT(config.fields, Contains(Pair("CONTAINER_ID", "0123456789ab")));
  EXPECT_THAT(config.fields, Contains(Pair("COM_X_TEAM", "a\"b")));
}

TEST(DetachKeys, AsDockerWritesThem) {
  EXPECT_EQ(parse_detach_keys("").value(), "\x10\x11");
  EXPECT_EQ(parse_detach_keys("ctrl-a,d").value(),
            "\x01"
            "d");
  EXPECT_EQ(parse_detach_keys("ctrl-[").value(), "\x1b");
  for (const char* bad : {"ctrl-", "ctrl-1", "ab", ",", "ctrl-a,"}) EXPECT_FALSE(parse_detach_keys(bad)) << bad;
  EXPECT_EQ(parse_detach_keys("alt-x").error().text(), "Invalid detach keys (alt-x) provided");
}

}  // namespace
}  // namespace corten::shimproto
