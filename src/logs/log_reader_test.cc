#include "logs/log_reader.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "logs/local_format.h"
#include "logs/record_parser.h"

namespace corten::logs {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::IsEmpty;

constexpr std::int64_t base_time = 1'700'000'000'000'000'000;
Timestamp at(std::int64_t number) { return Timestamp(std::chrono::nanoseconds(base_time + number * 1'000'000'000)); }

std::string json_line(std::int64_t number, const std::string& stream = "stdout") {
  return fmt::format("{{\"log\":\"line {}\\n\",\"stream\":\"{}\",\"time\":\"{}\"}}\n", number, stream,
                     format_rfc3339(at(number)));
}

std::string local_record(std::int64_t number) {
  std::string out;
  const std::string line = fmt::format("line {}", number);
  append_local_record(out, {1, false, at(number).time_since_epoch().count(), line});
  return out;
}

class LogReaderTest : public testing::TestWithParam<Format> {
 protected:
  LogReaderTest() {
    std::string pattern = testing::TempDir() + "corten-logs-XXXXXX";
    root_ = ::mkdtemp(pattern.data());
    dir_ = UniqueFd(::open(root_.c_str(), O_DIRECTORY | O_CLOEXEC));
  }
  ~LogReaderTest() override { std::filesystem::remove_all(root_); }

  void append(const std::string& name, const std::string& bytes) {
    std::ofstream(root_ + "/" + name, std::ios::app | std::ios::binary) << bytes;
  }
  std::string record(std::int64_t number) {
    return GetParam() == Format::json_file ? json_line(number) : local_record(number);
  }
  void rotate() {
    for (int number = 8; number > 0; --number) {
      const std::string from = number == 1 ? root_ + "/log" : fmt::format("{}/log.{}", root_, number - 1);
      if (std::filesystem::exists(from)) std::filesystem::rename(from, fmt::format("{}/log.{}", root_, number));
    }
  }
  std::unique_ptr<LogReader> open(const ReadOptions& options, Format format) {
    auto reader = LogReader::open(dir_.get(), "log", format, options);
    EXPECT_TRUE(reader) << reader.error().text();
    return std::move(*reader);
  }
  std::vector<std::string> lines(const ReadOptions& options, Format format) {
    const auto reader = open(options, format);
    std::vector<std::string> all;
    for (;;) {
      auto next = reader->next({});
      EXPECT_TRUE(next) << next.error().text();
      if (!next || !*next) return all;
      all.push_back((*next)->line);
    }
  }
  std::vector<std::string> lines(const ReadOptions& options = {}) { return lines(options, GetParam()); }

  std::string root_;
  UniqueFd dir_;
};

INSTANTIATE_TEST_SUITE_P(Formats, LogReaderTest, testing::Values(Format::json_file, Format::local),
                         [](const auto& parameter) { return parameter.param == Format::json_file ? "json" : "local"; });

TEST_P(LogReaderTest, ALogThatWasNeverWrittenIsEmpty) {
  EXPECT_THAT(lines(), IsEmpty());
  ReadOptions tail;
  tail.tail = 5;
  EXPECT_THAT(lines(tail), IsEmpty());
}

TEST_P(LogReaderTest, ReadsOverRotatedFilesOldestFirst) {
  append("log.2", record(1) + record(2));
  append("log.1", record(3));
  append("log", record(4) + record(5));
  EXPECT_THAT(lines(), ElementsAre("line 1\n", "line 2\n", "line 3\n", "line 4\n", "line 5\n"));
}

TEST_P(LogReaderTest, TailCountsOverFiles) {
  append("log.2", record(1) + record(2));
  append("log.1", record(3));
  append("log", record(4) + record(5));
  const std::vector<std::string> all = lines();
  for (std::int64_t count = 0; count < 8; ++count) {
    ReadOptions options;
    options.tail = count;
    const auto got = lines(options);
    const auto expected = std::min<std::size_t>(static_cast<std::size_t>(count), all.size());
    EXPECT_EQ(got, std::vector<std::string>(all.end() - static_cast<std::ptrdiff_t>(expected), all.end())) << count;
  }
}

TEST_P(LogReaderTest, TailOfALargeFile) {
  std::string all;
  for (int i = 0; i < 20'000; ++i) all += record(i);
  append("log", all);
  ReadOptions options;
  options.tail = 3;
  EXPECT_THAT(lines(options), ElementsAre("line 19997\n", "line 19998\n", "line 19999\n"));
  options.tail = 15'000;
  EXPECT_EQ(lines(options).size(), 15'000U);
}

TEST_P(LogReaderTest, SinceAndUntilInclude) {
  append("log.1", record(1) + record(2));
  append("log", record(3) + record(4));
  ReadOptions options;
  options.since = at(2);
  options.until = at(3);
  EXPECT_THAT(lines(options), ElementsAre("line 2\n", "line 3\n"));
  options.since = at(9);
  EXPECT_THAT(lines(options), IsEmpty());
}

TEST_P(LogReaderTest, AnUnfinishedLastRecordIsNotRead) {
  const std::string last = record(2);
  append("log", record(1) + last.substr(0, last.size() - 3));
  EXPECT_THAT(lines(), ElementsAre("line 1\n"));
  ReadOptions options;
  options.tail = 1;
  const auto tail = lines(options);
  EXPECT_LE(tail.size(), 1U);  // whether the torn one counts is of no importance; that it is not shown is
  EXPECT_TRUE(tail.empty() || tail[0] == "line 1\n");
}

TEST_P(LogReaderTest, FollowSeesGrowthRotationAndTheEnd) {
  append("log", record(0));
  ReadOptions options;
  options.follow = true;
  const auto reader = open(options, GetParam());
  std::thread writer([&] {
    for (int i = 1; i < 400; ++i) {
      if (i % 50 == 0) rotate();
      append("log", record(i));
    }
    reader->end_of_log();
  });
  std::vector<std::string> all;
  for (;;) {
    auto next = reader->next({});
    ASSERT_TRUE(next);
    if (!*next) break;
    all.push_back((*next)->line);
  }
  writer.join();
  ASSERT_EQ(all.size(), 400U);
  for (std::size_t i = 0; i < all.size(); ++i) EXPECT_EQ(all[i], fmt::format("line {}\n", i));
}

TEST_P(LogReaderTest, ARotationUnderWayHidesNoFile) {
  append("log.3", record(0));
  append("log.1", record(1));  // number 2 has just been moved up, or number 1 is about to be
  append("log", record(2));
  EXPECT_EQ(lines().size(), 3U);
}

TEST_P(LogReaderTest, FollowOfALogThatComesLater) {
  ReadOptions options;
  options.follow = true;
  options.tail = 0;
  const auto reader = open(options, GetParam());
  EXPECT_FALSE(reader->ready());
  std::thread writer([&] { append("log", record(7)); });
  const auto next = reader->next({});
  writer.join();
  ASSERT_TRUE(next && *next);
  EXPECT_EQ((*next)->line, "line 7\n");
  EXPECT_EQ((*next)->time, at(7));
}

TEST_P(LogReaderTest, FollowIsCancelled) {
  append("log", record(1));
  ReadOptions options;
  options.follow = true;
  const auto reader = open(options, GetParam());
  EXPECT_TRUE(reader->ready());
  EXPECT_TRUE(*reader->next({}));
  std::stop_source stop;
  std::thread stopper([&] { stop.request_stop(); });
  const auto next = reader->next(stop.get_token());
  stopper.join();
  ASSERT_FALSE(next);
  EXPECT_EQ(next.error().kind(), ErrorKind::cancelled);
}

TEST_P(LogReaderTest, FollowWithUntilEnds) {
  append("log", record(1) + record(2));
  ReadOptions options;
  options.follow = true;
  options.until = at(1);
  EXPECT_THAT(lines(options), ElementsAre("line 1\n"));
}

TEST_P(LogReaderTest, FollowGoesOnAfterATruncation) {
  append("log", record(1) + record(2));
  ReadOptions options;
  options.follow = true;
  const auto reader = open(options, GetParam());
  EXPECT_TRUE(*reader->next({}));
  EXPECT_TRUE(*reader->next({}));
  EXPECT_FALSE(reader->ready());
  std::filesystem::resize_file(root_ + "/log", 0);
  EXPECT_FALSE(reader->ready());
  append("log", record(3));
  EXPECT_EQ((*reader->next({}))->line, "line 3\n");
}

TEST_P(LogReaderTest, ALinkInPlaceOfALogIsRefused) {
  append("target", record(1));
  std::filesystem::create_symlink("target", root_ + "/log");
  EXPECT_FALSE(LogReader::open(dir_.get(), "log", GetParam(), {}));
}

TEST_P(LogReaderTest, SizeAndRemoval) {
  append("log.1", record(1));
  append("log", record(2));
  EXPECT_EQ(log_size(dir_.get(), "log").value(), record(1).size() + record(2).size());
  ASSERT_TRUE(remove_log(dir_.get(), "log"));
  EXPECT_TRUE(std::filesystem::is_empty(root_));
  EXPECT_TRUE(remove_log(dir_.get(), "log"));
}

TEST_P(LogReaderTest, GarbageIsSurvived) {
  std::string garbage;
  unsigned state = 12345;
  for (int i = 0; i < 300'000; ++i) {
    state = state * 1'103'515'245 + 12'345;
    garbage.push_back(static_cast<char>(state >> 16U));
  }
  append("log", garbage);
  lines();
  for (const std::int64_t tail : {1, 10, 100'000}) {
    ReadOptions options;
    options.tail = tail;
    lines(options);
  }
}

using JsonLogTest = LogReaderTest;
INSTANTIATE_TEST_SUITE_P(Json, JsonLogTest, testing::Values(Format::json_file));

TEST_P(JsonLogTest, DamagedLinesAreSkipped) {
  append("log", json_line(1) + "{\"log\":\"half" + "\n" + "null\n\n[]\n{\"log\":1}\n" + json_line(2));
  append("log", std::string(3 << 20, 'x') + "\n" + json_line(3) + std::string(5000, '{') + "\n" + json_line(4));
  EXPECT_THAT(lines(), ElementsAre("line 1\n", "line 2\n", "line 3\n", "line 4\n"));
}

TEST_P(JsonLogTest, StreamsAreTold) {
  append("log", json_line(1) + json_line(2, "stderr"));
  ReadOptions options;
  options.want_stdout = false;
  EXPECT_THAT(lines(options), ElementsAre("line 2\n"));
}

TEST(JsonLine, EveryFieldAndEscape) {
  Record record;
  ASSERT_TRUE(parse_json_line(R"({"log":"a\"b\\\u003c\u00e9\ud83d\ude00\ud800x\t\n","stream":"stderr",)"
                              R"("attrs":{"k":"v","n":[1,{"x":"}"}]},"time":"2023-11-14T22:13:20.5Z"})",
                              record));
  EXPECT_EQ(record.line, "a\"b\\<\xc3\xa9\xf0\x9f\x98\x80\xef\xbf\xbdx\t\n");
  EXPECT_EQ(record.stream, Stream::err);
  EXPECT_FALSE(record.partial);
  EXPECT_EQ(record.attributes, R"({"k":"v","n":[1,{"x":"}"}]})");
  EXPECT_EQ(record.time.time_since_epoch().count(), base_time + 500'000'000);
  ASSERT_TRUE(parse_json_line(R"( { "time":"2023-11-14T22:13:20Z" , "log" : "piece" } )", record));
  EXPECT_TRUE(record.partial);
  EXPECT_EQ(record.stream, Stream::out);
  for (const char* bad :
       {"", "{}", "{", R"({"log":"x"})", R"({"time":"2023-11-14T22:13:20Z"})", R"({"log":"x","time":"yesterday"})",
        R"({"log":"\u12","time":"2023-11-14T22:13:20Z"})", R"({"log":"\q","time":"2023-11-14T22:13:20Z"})",
        R"({"log":"x","time":"2023-11-14T22:13:20Z"}trailing)", R"({"log":"x","time":"2023-11-14T22:13:20Z")",
        R"({"log":"x","stream":"stdin","time":"2023-11-14T22:13:20Z"})", R"({"log":"\)", R"({"a":"\)",
        R"({"a":[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]],"log":"x","time":"2023-11-14T22:13:20Z"})"})
    EXPECT_FALSE(parse_json_line(bad, record)) << bad;
}

TEST(LocalRecord, DamageIsSeen) {
  std::string good = local_record(1);
  Record record;
  EXPECT_EQ(parse_record(Format::local, good, record).kind, Parsed::Kind::record);
  for (std::size_t i = 0; i < good.size(); ++i)
    EXPECT_EQ(parse_record(Format::local, good.substr(0, i), record).kind, Parsed::Kind::needs_more);
  std::string bad = good;
  bad.back() = 1;
  EXPECT_EQ(parse_record(Format::local, bad, record).kind, Parsed::Kind::damaged);
  bad = good;
  bad[4] = 0;  // no such stream
  EXPECT_EQ(parse_record(Format::local, bad, record).kind, Parsed::Kind::damaged);
  EXPECT_EQ(parse_record(Format::local, "\xff\xff\xff\xff", record).kind, Parsed::Kind::damaged);
}

}  // namespace
}  // namespace corten::logs
