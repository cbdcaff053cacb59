#include "cli/flags.h"

#include <gtest/gtest.h>

#include "cli/container_flags.h"

namespace corten::cli {
namespace {

Result<ParsedLine> parse(std::vector<std::string> words, bool interspersed = false) {
  return parse_flags(run_flags, words, interspersed);
}
std::string error_of(std::vector<std::string> words) {
  const auto parsed = parse(std::move(words));
  return parsed ? "" : parsed.error().text();
}

TEST(Flags, TakesEveryWayToWriteOne) {
  const auto line = parse({"-it", "-p80:80", "-p", "81:81", "--publish=82:82", "--name", "web", "--rm=false", "-m=512m",
                           "image", "-x", "--rm"});
  ASSERT_TRUE(line) << line.error().text();
  EXPECT_TRUE(line->flags.boolean("interactive"));
  EXPECT_TRUE(line->flags.boolean("tty"));
  EXPECT_FALSE(line->flags.boolean("rm"));
  EXPECT_TRUE(line->flags.changed("rm"));
  EXPECT_EQ(line->flags.list("publish"), (std::vector<std::string>{"80:80", "81:81", "82:82"}));
  EXPECT_EQ(line->flags.string("name"), "web");
  EXPECT_EQ(line->flags.bytes("memory"), 512LL << 20);
  EXPECT_EQ(line->arguments, (std::vector<std::string>{"image", "-x", "--rm"}));
}

TEST(Flags, InterspersedFlagsStandAnywhereUntilTwoDashes) {
  const auto line = parse({"a", "-t", "b", "--", "-i"}, true);
  ASSERT_TRUE(line);
  EXPECT_TRUE(line->flags.boolean("tty"));
  EXPECT_FALSE(line->flags.boolean("interactive"));
  EXPECT_EQ(line->arguments, (std::vector<std::string>{"a", "b", "-i"}));
}

TEST(Flags, LastValueCountsAndDefaultsHold) {
  const auto line = parse({"--name", "a", "--name", "b"});
  EXPECT_EQ(line->flags.string("name"), "b");
  EXPECT_TRUE(line->flags.boolean("sig-proxy"));
  EXPECT_EQ(line->flags.string("pull"), "missing");
  EXPECT_EQ(line->flags.integer("memory-swappiness"), -1);
  EXPECT_FALSE(line->flags.changed("pull"));
}

TEST(Flags, AVariableStandsInForAFlagAndHelpSaysSo) {
  ASSERT_EQ(::setenv("DOCKER_DEFAULT_PLATFORM", "linux/arm64", 1), 0);
  EXPECT_EQ(parse({})->flags.string("platform"), "linux/arm64");
  EXPECT_FALSE(parse({})->flags.changed("platform"));
  EXPECT_EQ(parse({"--platform", "linux/s390x"})->flags.string("platform"), "linux/s390x");
  EXPECT_NE(flag_usages(run_flags, 0).find("multi-platform capable (default \"linux/arm64\")\n"), std::string::npos);
  ASSERT_EQ(::unsetenv("DOCKER_DEFAULT_PLATFORM"), 0);
  EXPECT_EQ(parse({})->flags.string("platform"), "");
  EXPECT_EQ(flag_usages(run_flags, 0).find("linux/arm64"), std::string::npos);
}

TEST(Flags, ErrorsHavePflagsWords) {
  EXPECT_EQ(error_of({"--foo"}), "unknown flag: --foo");
  EXPECT_EQ(error_of({"-tz"}), "unknown shorthand flag: 'z' in -z");
  EXPECT_EQ(error_of({"--name"}), "flag needs an argument: --name");
  EXPECT_EQ(error_of({"-m"}), "flag needs an argument: 'm' in -m");
  EXPECT_EQ(error_of({"---x"}), "bad flag syntax: ---x");
  EXPECT_EQ(error_of({"-m", "xx"}), R"(invalid argument "xx" for "-m, --memory" flag: invalid size: 'xx')");
  EXPECT_EQ(error_of({"--rm=maybe"}),
            R"(invalid argument "maybe" for "--rm" flag: strconv.ParseBool: parsing "maybe": invalid syntax)");
  EXPECT_EQ(error_of({"--pids-limit", "x"}),
            R"(invalid argument "x" for "--pids-limit" flag: strconv.ParseInt: parsing "x": invalid syntax)");
  EXPECT_EQ(
      error_of({"--blkio-weight", "70000"}),
      R"(invalid argument "70000" for "--blkio-weight" flag: strconv.ParseUint: parsing "70000": value out of range)");
  EXPECT_EQ(error_of({"--health-interval", "5"}),
            R"(invalid argument "5" for "--health-interval" flag: time: missing unit in duration "5")");
  EXPECT_EQ(error_of({"--cpus", "x"}),
            R"(invalid argument "x" for "--cpus" flag: failed to parse x as a rational number)");
  EXPECT_EQ(error_of({"-e", "=x"}), R"(invalid argument "=x" for "-e, --env" flag: invalid environment variable: =x)");
  EXPECT_EQ(
      error_of({"--ulimit", "nofile=5:2"}),
      R"(invalid argument "nofile=5:2" for "--ulimit" flag: ulimit soft limit must be less than or equal to hard limit: 5 > 2)");
  EXPECT_EQ(error_of({"--mount", "type=bind"}),
            R"(invalid argument "type=bind" for "--mount" flag: target is required)");
}

TEST(Flags, Sizes) {
  EXPECT_EQ(parse_bytes("1k").value(), 1024);
  EXPECT_EQ(parse_bytes("1.5GiB").value(), 1610612736);
  EXPECT_EQ(parse_bytes("10 mb").value(), 10 << 20);
  EXPECT_EQ(parse_bytes("7").value(), 7);
  for (const char* bad : {"", "x", "-1", "1kx", "1e400t", "99999999999p", "1 2", "."})
    EXPECT_FALSE(parse_bytes(bad)) << bad;
}

TEST(Flags, Cpus) {
  EXPECT_EQ(parse_cpus("1.5").value(), 1'500'000'000);
  EXPECT_EQ(parse_cpus(".5").value(), 500'000'000);
  EXPECT_EQ(parse_cpus("2").value(), 2'000'000'000);
  EXPECT_EQ(parse_cpus("0.0000000001").error().text(), "value is too precise");
  for (const char* bad : {"", ".", "1.2.3", "x", "9999999999999"}) EXPECT_FALSE(parse_cpus(bad)) << bad;
}

TEST(Flags, Csv) {
  EXPECT_EQ(parse_csv(R"(a,"b,c","d""e")").value(), (std::vector<std::string>{"a", "b,c", "d\"e"}));
  EXPECT_FALSE(parse_csv(R"(a"b)"));
  EXPECT_FALSE(parse_csv(R"("a)"));
}

TEST(Flags, UsagesAreAlignedAndWrapped) {
  static constexpr Flag flags[] = {
      {.name = "all", .shorthand = 'a', .usage = "Show all"},
      {.name = "name",
       .kind = FlagKind::string,
       .type_name = "string",
       .usage = "A text that is much too long for one line of forty"},
      {.name = "secret", .hidden = true},
  };
  EXPECT_EQ(
      flag_usages(flags, 0),
      "  -a, --all           Show all\n      --name string   A text that is much too long for one line of forty\n");
  EXPECT_EQ(flag_usages(flags, 50),
            "  -a, --all           Show all\n      --name string   A text that is much\n                      too long "
            "for one line\n"
            "                      of forty\n");
}

}  // namespace
}  // namespace corten::cli
