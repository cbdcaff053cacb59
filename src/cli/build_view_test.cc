// What a build's events look like, as lines and on a terminal.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cli/build_board.h"
#include "cli/build_log.h"
#include "cli/build_plain.h"
#include "http/headers.h"

namespace corten::cli {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

spec::BuildLine begun(unsigned id, std::string text, std::string stage = "", unsigned number = 0, unsigned total = 0) {
  spec::BuildLine line;
  line.begun = spec::BuildStepBegun{
      .id = id, .stage = std::move(stage), .number = number, .total = total, .text = std::move(text), .platform = ""};
  return line;
}
spec::BuildLine output(unsigned id, std::string_view bytes, bool is_stderr = false) {
  spec::BuildLine line;
  line.output = spec::BuildStepOutput{.id = id, .is_stderr = is_stderr, .base64 = http::base64_encode(bytes)};
  return line;
}
spec::BuildLine status(unsigned id, std::string text, std::uint64_t current = 0, std::uint64_t total = 0) {
  spec::BuildLine line;
  line.status = spec::BuildStepStatus{.id = id, .text = std::move(text), .current = current, .total = total};
  return line;
}
spec::BuildLine ended(unsigned id, bool cached = false, std::string error = "", std::string why = "") {
  spec::BuildLine line;
  line.ended = spec::BuildStepEnded{.id = id, .cached = cached, .error = std::move(error), .why = std::move(why)};
  line.ended->took_ns = cached ? 1 : 400'000'000;
  return line;
}
spec::BuildLine warned(std::string rule, unsigned at) {
  spec::BuildLine line;
  line.warning = spec::BuildWarning{.rule = std::move(rule), .detail = "that is odd", .file = "Dockerfile"};
  line.warning->first_line = line.warning->last_line = at;
  line.warning->excerpt = "   2 | >>> FROM x\n";
  return line;
}

class Plain : public testing::Test {
 protected:
  void take(const spec::BuildLine& line) { text_ += plain_.take(log_.take(line, now_), now_); }
  std::string text() { return std::exchange(text_, {}); }

  BuildLog::Time now_{1h};
  BuildLog log_;
  BuildPlain plain_{true, false};
  std::string text_;
};

TEST_F(Plain, OneStepAfterTheOther) {
  take(begun(1, "[internal] load build context"));
  take(status(1, "transferring context:", 2300));
  take(ended(1));
  take(begun(7, "RUN make", "builder", 2, 4));
  now_ += 123ms;
  take(output(7, "one\ntw"));
  now_ += 1s;
  take(output(7, "o\r\nlast"));
  take(ended(7));
  take(begun(8, "COPY . .", "", 3, 4));
  take(ended(8, true, "", "nothing that it reads has changed"));
  EXPECT_EQ(text(),
            "#1 [internal] load build context\n#1 transferring context: 2.3kB\n#1 DONE 0.4s\n"
            "\n#2 [builder 2/4] RUN make\n#2 0.123 one\n#2 1.123 two\n#2 1.123 last\n#2 DONE 0.4s\n"
            "\n#3 [3/4] COPY . .\n#3 why: nothing that it reads has changed\n#3 CACHED\n");
  EXPECT_EQ(log_.done(), 2U);
  EXPECT_EQ(log_.all(), 4U);
}

TEST_F(Plain, StepsSideBySideAreNotMixed) {
  take(begun(1, "RUN a", "a", 1, 3));
  take(begun(2, "RUN b", "b", 2, 3));
  take(begun(3, "RUN c", "c", 3, 3));
  take(output(2, "b1\n"));
  take(output(1, "a1\n"));
  take(output(2, "b2\n"));
  EXPECT_EQ(text(), "#1 [a 1/3] RUN a\n#1 0.000 a1\n");
  // The first has fallen silent.
  now_ += 2s;
  text_ += plain_.pass(now_);
  EXPECT_EQ(text(), "#1 ...\n\n#2 [b 2/3] RUN b\n#2 0.000 b1\n#2 0.000 b2\n");
  take(ended(1));
  take(output(2, "b3\n"));
  take(ended(2));
  take(ended(3, false, "process \"/bin/sh -c c\" did not complete successfully: exit code: 1\nmore"));
  text_ += plain_.pass(now_, true);
  EXPECT_EQ(text(),
            "#2 2.000 b3\n#2 DONE 0.4s\n\n#1 [a 1/3] RUN a\n#1 DONE 0.4s\n"
            "\n#3 [c 3/3] RUN c\n#3 ERROR: process \"/bin/sh -c c\" did not complete successfully: exit code: 1\n");
  EXPECT_FALSE(plain_.waiting());
}

TEST_F(Plain, MovingNumbersAreToldOnceASecond) {
  take(begun(1, "FROM busybox", "", 1, 1));
  for (std::uint64_t i = 1; i <= 30; ++i) {
    now_ += 100ms;
    take(status(1, "pulling", i * 1000, 30'000));
  }
  take(ended(1));
  EXPECT_EQ(text(),
            "#1 [1/1] FROM busybox\n#1 pulling 1kB / 30kB\n#1 pulling 11kB / 30kB\n#1 pulling 21kB / 30kB\n"
            "#1 pulling 30kB / 30kB\n#1 DONE 0.4s\n");
}

TEST_F(Plain, MessagesThatMakeNoSenseDoNoHarm) {
  take(output(5, "x\n"));
  take(status(5, "x"));
  take(ended(5));
  take(begun(5, "RUN x\x1b[2J\nFROM y",
             "st\x1b"
             "age",
             7, 3));
  take(begun(5, "again"));
  take(spec::BuildLine{});
  spec::BuildLine bad;
  bad.output = spec::BuildStepOutput{.id = 5, .is_stderr = false, .base64 = "not base64!"};
  take(bad);
  take(ended(5));
  take(ended(5));
  take(output(5, "late\n"));
  EXPECT_EQ(text(), "#1 [st?age 7/7] RUN x?[2J FROM y\n#1 DONE 0.4s\n");
}

TEST(BuildLog, KeepsTheEndOfLongOutput) {
  BuildLog log;
  const BuildLog::Time now{1h};
  log.take(begun(1, "RUN yes", "", 1, 1), now);
  for (int i = 0; i < 40; ++i) log.take(output(1, std::string(50'000, 'a' + i % 26) + "\n"), now);
  const BuildStep& step = log.steps()[0];
  EXPECT_LE(step.bytes, BuildLog::max_kept_bytes);
  EXPECT_EQ(step.left_out + step.lines.size(), 40U);
  EXPECT_EQ(step.lines.back().text[0], 'a' + 39 % 26);
  // A line without end is broken.
  log.take(output(1, std::string(200'000, 'x')), now);
  EXPECT_EQ(step.lines.back().text.size(), BuildLog::max_line);
}

TEST(BuildLog, LinesAsATerminalLeavesThem) {
  EXPECT_EQ(settled_line("\x1b[1;31mred\x1b[0m and \x1b]0;title\aplain"), "red and plain");
  EXPECT_EQ(settled_line(" 10%\r 20%\r100%\r"), "100%");
  EXPECT_EQ(settled_line("ab\b\bcd\xc3\xa4\b!"), "cd!");
  EXPECT_EQ(settled_line("a\tb"), "a       b");
  EXPECT_EQ(settled_line("a\x07\x1b[999"), "a?");
  EXPECT_EQ(settled_line("\x1b"), "");
  EXPECT_EQ(settled_line("\x1b(Bx\x1bPdata\x1b\\y\xc2\x9bz"), "xy?z");
}

TEST(BuildLog, TellsOfWarningsAndFailures) {
  BuildLog log;
  const BuildLog::Time now{1h};
  EXPECT_EQ(warnings_text(log.warnings(), false), "");
  EXPECT_EQ(check_text(log.warnings()), "Check complete, no warnings found.\n");
  EXPECT_EQ(failure_text(log, 0), "");
  log.take(warned("StageNameCasing", 2), now);
  EXPECT_EQ(warnings_text(log.warnings(), false),
            "\n1 warning found (more of them with --check):\n Dockerfile:2: StageNameCasing: that is odd\n");
  EXPECT_EQ(check_text(log.warnings()),
            "Check complete, 1 warning has been found!\n\nDockerfile:2: StageNameCasing: that is odd\n"
            "      2 | >>> FROM x\n");
  log.take(begun(1, "RUN false", "", 2, 2), now);
  for (int i = 0; i < 15; ++i) log.take(output(1, "line " + std::to_string(i) + "\n"), now);
  log.take(ended(1, false, "exit code: 1"), now);
  EXPECT_THAT(failure_text(log, 0), testing::StartsWith("------\n > [2/2] RUN false:\n0.000 line 0\n"));
  EXPECT_EQ(failure_text(log, 2),
            "------\n > [2/2] RUN false:\n(13 lines before these)\n0.000 line 13\n0.000 line 14\n------\n");
}

class BuildPanel : public testing::Test {
 protected:
  void take(const spec::BuildLine& line) { board_.take(log_.take(line, now_)); }
  std::vector<std::string> texts(const std::vector<BuildLineShown>& lines, std::size_t columns, bool utf8) {
    std::vector<std::string> out;
    for (const auto& line : lines) {
      EXPECT_LT(columns_of(line.text), columns) << line.text;
      for (const char c : line.text) {
        EXPECT_GE(static_cast<unsigned char>(c), 0x20) << line.text;
        EXPECT_NE(c, 0x7f) << line.text;
        if (!utf8) {
          EXPECT_LT(static_cast<unsigned char>(c), 0x80) << line.text;
        }
      }
      out.push_back(line.text);
    }
    return out;
  }
  std::vector<std::string> panel(std::size_t rows = 24, std::size_t columns = 50, bool utf8 = false) {
    auto out = texts(board_.panel({rows, columns, utf8}, now_), columns, utf8);
    EXPECT_LE(out.size(), rows);
    return out;
  }
  std::vector<std::string> finished(std::size_t columns = 50) {
    return texts(board_.finished({24, columns, false}), columns, false);
  }

  BuildLog::Time now_{1h};
  BuildLog log_;
  BuildBoard board_{log_, true};
};

TEST_F(BuildPanel, RunningStepsStandBelowFinishedOnes) {
  take(begun(1, "COPY . /src", "builder", 1, 3));
  take(ended(1, true, "", "all as it was"));
  take(begun(2, "RUN make", "builder", 2, 3));
  take(begun(3, "RUN apt-get update", "tools", 3, 3));
  take(status(3, "pulling", 500, 1000));
  now_ += 1500ms;
  for (int i = 1; i <= 9; ++i) take(output(2, "cc " + std::to_string(i) + "\n"));
  take(output(2, " 50%\r 60%"));
  EXPECT_THAT(finished(), ElementsAre("=> CACHED [builder 1/3] COPY . /src          0.0s", "=> => why: all as it was"));
  EXPECT_THAT(finished(), ElementsAre());
  EXPECT_THAT(panel(), ElementsAre("=> [builder 2/3] RUN make                    1.5s", "=> => # cc 5", "=> => # cc 6",
                                   "=> => # cc 7", "=> => # cc 8", "=> => # cc 9", "=> => #  60%",
                                   "=> [tools 3/3] RUN apt-get update            1.5s", "=> => pulling 500B / 1kB",
                                   "[+] Building 1.5s (1/3)"));
  // Fewer rows: output goes first, then steps.
  EXPECT_THAT(panel(6), ElementsAre(HasSubstr("RUN make"), "=> => # cc 9", "=> => #  60%", HasSubstr("apt-get"),
                                    "=> => pulling 500B / 1kB", HasSubstr("1/3")));
  EXPECT_THAT(panel(3), ElementsAre(HasSubstr("RUN make"), HasSubstr("apt-get"), HasSubstr("1/3")));
  EXPECT_THAT(panel(2), ElementsAre("=> 2 more running", HasSubstr("1/3")));
  EXPECT_THAT(panel(1), ElementsAre(HasSubstr("1/3")));
  take(ended(2, false, "exit code: 1"));
  EXPECT_THAT(finished(), ElementsAre("=> ERROR [builder 2/3] RUN make              0.4s"));
  EXPECT_THAT(texts(board_.last({24, 50, false}, now_, "ERROR"), 50, false),
              ElementsAre("=> CANCELED [tools 3/3] RUN apt-get update   1.5s", "[+] Building 1.5s (2/3) ERROR"));
}

TEST_F(BuildPanel, NothingSteersTheTerminal) {
  take(begun(1, "RUN \x1b[2J" + std::string(5000, 'x'), "\xc2\x9b\x9b", 1, 1));
  take(output(1, "\x1b[31mred\x1b[0m \x1b]0;t\a\xc2\x9b\xff\xfe" + std::string(100'000, 'y')));
  take(output(1, "wide\xe6\xbc\xa2\xe6\xbc\xa2\xe6\xbc\xa2\xe6\xbc\xa2\xe6\xbc\xa2\n", true));
  take(status(1, "\r\n\x1b[A", 1, 2));
  for (const bool utf8 : {false, true})
    for (const std::size_t columns : {2U, 3U, 10U, 29U, 30U, 31U, 80U, 200U})
      for (const std::size_t rows : {1U, 2U, 3U, 24U}) EXPECT_FALSE(panel(rows, columns, utf8).empty());
  take(ended(1, false, "\x1b[2J"));
  for (const std::size_t columns : {2U, 30U, 80U}) (void)finished(columns);
}

}  // namespace
}  // namespace corten::cli
