#include "cli/progress_board.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cli/live_panel.h"
#include "cli/meter.h"

namespace corten::cli {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

class Board : public testing::Test {
 protected:
  void take(std::string id, std::string status, std::int64_t current = 0, std::int64_t total = 0,
            std::int64_t size = 0) {
    board_.take({.id = std::move(id), .status = std::move(status), .current = current, .total = total, .size = size},
                now_);
  }
  std::vector<std::string> lines(std::size_t rows = 24, std::size_t columns = 80, bool utf8 = false) {
    const Canvas canvas{rows, columns, utf8};
    auto out = board_.lines(canvas, now_);
    check(out, canvas);
    return out;
  }
  std::vector<std::string> last_lines(std::size_t rows = 24, std::size_t columns = 80) {
    const Canvas canvas{rows, columns, false};
    auto out = board_.last_lines(canvas, now_);
    check(out, canvas);
    return out;
  }
  // What holds whatever is shown.
  static void check(const std::vector<std::string>& lines, const Canvas& canvas) {
    EXPECT_LE(lines.size(), canvas.rows);
    for (const std::string& line : lines) {
      EXPECT_LT(columns_of(line), canvas.columns) << line;
      for (const char c : line) {
        EXPECT_GE(static_cast<unsigned char>(c), 0x20) << line;
        EXPECT_NE(c, 0x7f) << line;
        if (!canvas.utf8) {
          EXPECT_LT(static_cast<unsigned char>(c), 0x80) << line;
        }
      }
    }
  }
  // 1 MB each, `seconds` long.
  void download_evenly(const std::string& id, int seconds, std::int64_t total) {
    for (int i = 1; i <= seconds * 5; ++i) {
      now_ += 200ms;
      take(id, "Downloading", std::int64_t{200'000} * i, total);
    }
  }

  ProgressBoard board_;
  ProgressBoard::Time now_{1h};
};

TEST_F(Board, OneLineALayerAndOneForAll) {
  take("aaaaaaaaaaaa", "Already exists");
  take("bbbbbbbbbbbb", "Pulling fs layer", 0, 0, 10'000'000);
  take("cccccccccccc", "Pulling fs layer", 0, 0, 30'000'000);
  EXPECT_THAT(lines(), ElementsAre("aaaaaaaaaaaa: Already exists", "bbbbbbbbbbbb: Pulling fs layer",
                                   "cccccccccccc: Pulling fs layer", "1 of 3 layers   0B of 40MB"));
  download_evenly("bbbbbbbbbbbb", 5, 10'000'000);
  EXPECT_THAT(lines(), ElementsAre("aaaaaaaaaaaa: Already exists",
                                   "bbbbbbbbbbbb: Downloading [=================>                 ]        5MB/10MB",
                                   "cccccccccccc: Pulling fs layer", "1 of 3 layers   5MB of 40MB   1MB/s   35s left"));
  take("bbbbbbbbbbbb", "Download complete");
  take("cccccccccccc", "Download complete");
  take("bbbbbbbbbbbb", "Extracting", 5'000'000, 10'000'000);
  EXPECT_THAT(lines()[1], HasSubstr("bbbbbbbbbbbb: Extracting [="));
  EXPECT_EQ(lines()[3], "1 of 3 layers   40MB of 40MB");
  take("bbbbbbbbbbbb", "Pull complete");
  take("cccccccccccc", "Pull complete");
  EXPECT_EQ(lines()[3], "3 of 3 layers   40MB of 40MB");
  EXPECT_THAT(last_lines(), ElementsAre("aaaaaaaaaaaa: Already exists", "bbbbbbbbbbbb: Pull complete",
                                        "cccccccccccc: Pull complete", "3 layers   40MB in 5.0s   8MB/s"));
}

TEST_F(Board, ADaemonThatSaysNoSizesAheadGetsNoTimeLeft) {
  take("a", "Pulling fs layer");
  take("b", "Waiting");
  take("b", "Downloading", 0, 100);
  EXPECT_EQ(lines().back(), "0 of 2 layers   0B of 100B+");
  download_evenly("a", 3, 9'000'000);
  EXPECT_EQ(lines().back(), "0 of 2 layers   3MB of 9MB   1MB/s   7s left");
  take("c", "Waiting");
  EXPECT_EQ(lines().back(), "0 of 3 layers   3MB of 9MB+   1MB/s");
}

TEST_F(Board, NothingToSendNeedsNoSum) {
  take("a", "Preparing");
  take("a", "Layer already exists");
  take("b", "Mounted from library/x");
  EXPECT_THAT(lines(), ElementsAre("a: Layer already exists", "b: Mounted from library/x", "2 of 2 layers"));
  EXPECT_THAT(last_lines(), ElementsAre("a: Layer already exists", "b: Mounted from library/x"));
}

TEST_F(Board, LoadedLayersAreDoneWithTheirLastByte) {
  take("a", "Loading layer", 5, 10);
  EXPECT_THAT(lines().back(), HasSubstr("0 of 1 layer   5B of 10B"));
  take("a", "Loading layer", 10, 10);
  EXPECT_EQ(lines().back(), "1 of 1 layer   10B of 10B");
}

TEST_F(Board, OtherUnitsAreNoBytes) {
  board_.take({.id = "a", .status = "Extracting", .current = 3, .total = 0, .unit = "s", .size = 0}, now_);
  EXPECT_THAT(lines(), ElementsAre("a: Extracting 3 s", "0 of 1 layer"));
}

TEST_F(Board, MoreLayersThanRowsFold) {
  for (int i = 0; i < 50; ++i) take("layer" + std::to_string(i), "Pulling fs layer", 0, 0, 1000);
  EXPECT_THAT(lines(6, 40),
              ElementsAre("layer0: Pulling fs layer", "layer1: Pulling fs layer", "layer2: Pulling fs layer",
                          "layer3: Pulling fs layer", "46 layers more", "0 of 50 layers   0B of 50kB"));
  take("layer0", "Pull complete");
  take("layer3", "Pull complete");
  // What moves comes before what waits, in the layers' order.
  take("layer30", "Downloading", 1, 1000);
  EXPECT_THAT(lines(6, 60), ElementsAre("2 layers done", "layer1: Pulling fs layer", "layer2: Pulling fs layer",
                                        "layer30: Downloading [>                   ]          1B/1kB", "45 layers more",
                                        "2 of 50 layers   2kB of 50kB"));
  // The fewer rows there are, the more is left out; the sum last.
  EXPECT_EQ(lines(5).size(), 5U);
  EXPECT_THAT(lines(4), ElementsAre("2 layers done", testing::StartsWith("layer30: "), "47 layers more",
                                    testing::StartsWith("2 of 50")));
  EXPECT_THAT(lines(3), ElementsAre("2 layers done", testing::StartsWith("layer30: "), testing::StartsWith("2 of 50")));
  EXPECT_THAT(lines(2), ElementsAre(testing::StartsWith("layer30: "), testing::StartsWith("2 of 50")));
  EXPECT_THAT(lines(1), ElementsAre(testing::StartsWith("2 of 50")));
  for (int i = 0; i < 50; ++i) take("layer" + std::to_string(i), "Pull complete");
  EXPECT_THAT(lines(6), ElementsAre("50 layers done", "50 of 50 layers   50kB of 50kB"));
  EXPECT_EQ(lines(51).size(), 51U);
  now_ += 2s;
  EXPECT_THAT(last_lines(6), ElementsAre("50 layers   50kB in 2.0s   25kB/s"));
  EXPECT_EQ(last_lines(51).size(), 51U);
}

TEST_F(Board, NarrowWindowsLoseTheBarThenTheNumbers) {
  take("aaaaaaaaaaaa", "Downloading", 0, 1'234'567);
  now_ += 2s;
  take("aaaaaaaaaaaa", "Downloading", 617'283, 1'234'567);
  EXPECT_THAT(lines(24, 200)[0], HasSubstr("[" + std::string(24, '=') + ">" + std::string(25, ' ') + "]"));
  EXPECT_EQ(lines(24, 50)[0], "aaaaaaaaaaaa: Downloading 617kB/1.23MB");
  EXPECT_EQ(lines(24, 31)[0], "aaaaaaaaaaaa: Downloading 49%");
  EXPECT_EQ(lines(24, 24)[0], "aaaaaaaaaaaa: Downlo...");
  EXPECT_EQ(lines(24, 51)[1], "0 of 1 layer   617kB of 1.23MB   309kB/s   3s left");
  EXPECT_EQ(lines(24, 50)[1], "0 of 1 layer   617kB of 1.23MB   309kB/s");
  EXPECT_EQ(lines(24, 10)[1], "0 of 1...");
  EXPECT_EQ(lines(24, 2)[1], "0");
  // A terminal that does not know its size has 24 rows of 80.
  EXPECT_EQ(board_.lines({0, 0, false}, now_), lines());
}

TEST_F(Board, Utf8DrawsSmootherBarsAndPlainTerminalsGetAscii) {
  take("a", "Downloading", 500, 1000);
  EXPECT_THAT(lines(24, 60, true)[0], HasSubstr("[███████████"));
  EXPECT_EQ(columns_of(lines(24, 60, true)[0]), columns_of(lines(24, 60, false)[0]));
  for (int part = 0; part <= 1000; part += 7) {
    take("a", "Downloading", part, 1000);
    EXPECT_EQ(columns_of(lines(24, 60, true)[0]), columns_of(lines(24, 60, false)[0])) << part;
  }
  take("b", "Pulling \xc3\xa4");
  EXPECT_EQ(lines(24, 60, true)[1], "b: Pulling \xc3\xa4");
  EXPECT_EQ(lines(24, 60, false)[1], "b: Pulling ??");
}

TEST_F(Board, ForeignTextCannotSteerTheTerminal) {
  take("\x1b[2Jevil\r\n",
       "a\x9b"
       "31m\xc2\x9b\x7f\t\x1b]0;title\x07",
       1, 0);
  take(std::string(100'000, 'x'), std::string(100'000, '\xf0'));
  take("wide\xe6\xbc\xa2\xe6\xbc\xa2\xe6\xbc\xa2\xe6\xbc\xa2\xe6\xbc\xa2", "\xe6\xbc");
  for (const bool utf8 : {false, true}) {
    for (const std::size_t columns : {2U, 3U, 5U, 9U, 10U, 20U, 80U}) {
      for (const std::string& line : lines(24, columns, utf8)) {
        EXPECT_THAT(line, Not(HasSubstr("\xc2\x9b")));
        EXPECT_THAT(line, Not(HasSubstr("a\x9b")));
      }
    }
  }
}

TEST_F(Board, SenselessNumbersDoNoHarm) {
  constexpr auto most = std::numeric_limits<std::int64_t>::max();
  take("a", "Downloading", -5, 100);
  take("b", "Downloading", 500, 100);
  take("c", "Downloading", 100, -100, -7);
  take("d", "Downloading", most / 8, most / 8);
  now_ += 1s;
  take("a", "Downloading", 50, 100);
  take("a", "Downloading", 0, 100);
  for (std::size_t columns = 2; columns < 130; ++columns) EXPECT_FALSE(lines(24, columns).empty());
  EXPECT_FALSE(last_lines().empty());
}

TEST_F(Board, TheRateFollowsAndFallsInSilence) {
  take("a", "Downloading", 0, 100'000'000);
  download_evenly("a", 10, 100'000'000);
  EXPECT_THAT(lines().back(), HasSubstr("1MB/s   1m30s left"));
  now_ += 6s;
  EXPECT_THAT(lines().back(), HasSubstr("kB/s"));
  now_ += 1h;
  EXPECT_EQ(lines().back(), "0 of 1 layer   10MB of 100MB");
}

TEST(Meter, OneLineWithWhatIsKnownAndFits) {
  TransferRate rate;
  TransferRate::Time now{1h};
  EXPECT_EQ(meter_line("Loading", 0, 1000, rate, now, 60), "Loading        0B/1kB");
  rate.take(0, now);
  for (int i = 1; i <= 10; ++i) rate.take(std::int64_t{100'000} * i, now += 200ms);
  EXPECT_EQ(meter_line("Loading", 1'000'000, 3'000'000, rate, now, 80),
            "Loading  [======>              ]       1MB/3MB   500kB/s   4s left");
  EXPECT_EQ(meter_line("Loading", 1'000'000, 3'000'000, rate, now, 40), "Loading       1MB/3MB   500kB/s");
  EXPECT_EQ(meter_line("Loading", 1'000'000, 3'000'000, rate, now, 20), "Loading       1MB/3MB");
  EXPECT_EQ(meter_line("Saving", 1'000'000, {}, rate, now, 80), "Saving - 1MB   500kB/s");
}

TEST(ProgressText, Durations) {
  EXPECT_EQ(short_duration(0s), "0s");
  EXPECT_EQ(short_duration(59s), "59s");
  EXPECT_EQ(short_duration(185s), "3m05s");
  EXPECT_EQ(short_duration(3720s), "1h02m");
  EXPECT_EQ(short_duration(-5s), "0s");
}

TEST(ProgressText, CutsWholeCharacters) {
  EXPECT_EQ(cut_to_columns("abcdef", 6, true), "abcdef");
  EXPECT_EQ(cut_to_columns("abcdef", 5, true), "abcd…");
  EXPECT_EQ(cut_to_columns("abcdef", 5, false), "ab...");
  EXPECT_EQ(cut_to_columns("abcdef", 2, false), "ab");
  EXPECT_EQ(cut_to_columns("漢字漢字", 4, true), "漢…");
  EXPECT_EQ(columns_of("漢字"), 4U);
  EXPECT_EQ(columns_of("ä"), 1U);
}

TEST(LivePanel, GoesUpOverWhatIsThere) {
  const std::vector<std::string> lines{"one", "two"};
  EXPECT_EQ(redrawn({}, lines, {24, 80}), "\rone\x1b[K\r\ntwo\x1b[K\r\n\x1b[J");
  const std::vector<std::size_t> drawn{3, 79};
  EXPECT_EQ(redrawn(drawn, {}, {24, 80}), "\r\x1b[2A\x1b[J");
  // 79 columns have become two rows of 40, and in a window of two rows all but one are out of reach.
  EXPECT_EQ(redrawn(drawn, {}, {24, 40}), "\r\x1b[3A\x1b[J");
  EXPECT_EQ(redrawn(drawn, {}, {2, 40}), "\r\x1b[1A\x1b[J");
  EXPECT_EQ(redrawn(drawn, {}, {0, 0}), "\r\x1b[2A\x1b[J");
}

}  // namespace
}  // namespace corten::cli
