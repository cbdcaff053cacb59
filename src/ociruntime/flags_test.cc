#include "ociruntime/flags.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include "ociruntime/lifecycle.h"
#include "ociruntime/update_flags.h"

namespace corten::ociruntime {
namespace {

using ::testing::ElementsAre;

TEST(Flags, TakesAllForms) {
  bool on = false;
  bool off = true;
  std::string text;
  std::vector<std::string> list;
  Flags flags;
  flags.flag("--on -o", on);
  flags.flag("--off", off);
  flags.text("--text -t", text);
  flags.list("-e --env", list);
  const auto arguments =
      flags.parse({"-o", "a", "--off=false", "--text=x=y", "-e", "1", "--env=2", "b", "--", "-c"}, false);
  ASSERT_TRUE(arguments) << arguments.error().text();
  EXPECT_THAT(*arguments, ElementsAre("a", "b", "-c"));
  EXPECT_TRUE(on);
  EXPECT_FALSE(off);
  EXPECT_EQ(text, "x=y");
  EXPECT_THAT(list, ElementsAre("1", "2"));
}

TEST(Flags, LeavesAnotherProgramsFlagsAlone) {
  bool tty = false;
  Flags flags;
  flags.flag("-t", tty);
  EXPECT_THAT(flags.parse({"-t", "id", "ls", "-l", "--", "x"}, true).value(), ElementsAre("id", "ls", "-l", "--", "x"));
  EXPECT_TRUE(tty);
}

TEST(Flags, RefusesWhatItDoesNotKnow) {
  bool on = false;
  std::string text;
  Flags flags;
  flags.flag("--on", on);
  flags.text("--text", text);
  for (const std::vector<std::string>& words :
       {std::vector<std::string>{"--nosuch"}, {"--on=maybe"}, {"--text"}, {"-x"}, {"--o"}})
    EXPECT_EQ(flags.parse(words, false).error().kind(), ErrorKind::invalid) << words.front();
}

TEST(ParseBytes, KnowsUnits) {
  EXPECT_EQ(parse_bytes("5", "x").value(), 5);
  EXPECT_EQ(parse_bytes("64m", "x").value(), 64 << 20);
  EXPECT_EQ(parse_bytes("1G", "x").value(), 1 << 30);
  EXPECT_EQ(parse_bytes("2KiB", "x").value(), 2048);
  EXPECT_EQ(parse_bytes("3kb", "x").value(), 3072);
  EXPECT_EQ(parse_bytes("-1", "x").value(), -1);
  for (const char* bad : {"", "k", "-5", "1x", "1.5g", "99999999999g", "18446744073709551616", "m1"})
    EXPECT_FALSE(parse_bytes(bad, "x")) << bad;
}

TEST(ParseUser, TakesNumbersOnly) {
  EXPECT_EQ(parse_user("1")->uid, 1U);
  EXPECT_FALSE(parse_user("1")->gid);
  EXPECT_EQ(parse_user("0:7")->gid, 7U);
  for (const char* bad : {"", ":", "1:", ":1", "root", "-1", "1:x", "4294967295", "4294967296", "1:2:3", " 1"})
    EXPECT_FALSE(parse_user(bad)) << bad;
}

TEST(ParseSignal, TakesNamesAndNumbers) {
  EXPECT_EQ(parse_signal("9").value(), 9);
  EXPECT_EQ(parse_signal("KILL").value(), SIGKILL);
  EXPECT_EQ(parse_signal("sigterm").value(), SIGTERM);
  EXPECT_EQ(parse_signal("SIGRTMIN+3").value(), SIGRTMIN + 3);
  for (const char* bad : {"", "0", "-1", "65", "FOO", "SIG", "9x", "RTMIN+99"}) EXPECT_FALSE(parse_signal(bad)) << bad;
}

TEST(CheckId, KeepsPathsOut) {
  EXPECT_TRUE(check_id("a-b_c+d.9"));
  for (const char* bad : {"", ".", "..", "a/b", "../x", "a b", "ä"}) EXPECT_FALSE(check_id(bad)) << bad;
}

TEST(UpdateFlags, BecomeResources) {
  UpdateFlags given;
  Flags flags;
  given.declare(flags);
  ASSERT_TRUE(
      flags.parse({"--memory", "64m", "--cpu-share=512", "--pids-limit", "-1", "--blkio-weight=500", "id"}, false));
  const auto resources = given.resources();
  ASSERT_TRUE(resources);
  EXPECT_EQ(resources->memory->limit, 64 << 20);
  EXPECT_EQ(resources->cpu->shares, 512U);
  EXPECT_EQ(resources->pids->limit, -1);
  EXPECT_EQ(resources->block_io->weight, 500);
  EXPECT_FALSE(flags.parse({"--memory", "lots"}, false));
  EXPECT_FALSE(flags.parse({"--blkio-weight", "70000"}, false));
}

}  // namespace
}  // namespace corten::ociruntime
