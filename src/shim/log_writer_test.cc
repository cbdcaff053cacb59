// What the log drivers write, byte by byte.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "logs/log_reader.h"
#include "logs/record_parser.h"
#include "shim/detach_scanner.h"
#include "shim/log_files.h"
#include "shim/log_network.h"
#include "shim/outbox.h"

namespace corten::shim {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

Timestamp some_time() { return Timestamp(std::chrono::nanoseconds(1'700'000'000'120'000'000)); }

std::string json(std::string_view line, bool partial = false, std::string_view attributes = {}) {
  std::string out;
  append_json_line(out, {Stream::out, some_time(), line, partial, 0, 0}, attributes);
  return out;
}

TEST(JsonLineWriter, IsDockersLine) {
  EXPECT_EQ(json("hello"), "{\"log\":\"hello\\n\",\"stream\":\"stdout\",\"time\":\"2023-11-14T22:13:20.12Z\"}\n");
  EXPECT_EQ(json("x", true, R"({"a":"b"})"),
            "{\"log\":\"x\",\"stream\":\"stdout\",\"attrs\":{\"a\":\"b\"},\"time\":\"2023-11-14T22:13:20.12Z\"}\n");
  std::string out;
  append_json_line(out, {Stream::err, Timestamp(std::chrono::seconds(1'700'000'001)), "", false, 0, 0}, {});
  EXPECT_EQ(out, "{\"log\":\"\\n\",\"stream\":\"stderr\",\"time\":\"2023-11-14T22:13:21Z\"}\n");
}

TEST(JsonLineWriter, EscapesAsGoDoes) {
  EXPECT_THAT(json("\"\\<>&\t\r\x01\x7f"), HasSubstr("\\\"\\\\\\u003c\\u003e\\u0026\\u0009\\r\\u0001\x7f\\n"));
  EXPECT_THAT(json("\xc3\xa9\xf0\x9f\x98\x80"), HasSubstr("\"\xc3\xa9\xf0\x9f\x98\x80\\n"));
  EXPECT_THAT(json("\xe2\x80\xa8\xe2\x80\xa9"), HasSubstr("\\u2028\\u2029"));
  // Bytes that are no UTF-8: each becomes one replacement character.
  EXPECT_THAT(json("\xff|\xc3|\xe2\x82|\xed\xa0\x80|\xc0\xaf|\xf5\x80\x80\x80|"),
              HasSubstr("\"\\ufffd|\\ufffd|\\ufffd\\ufffd|\\ufffd\\ufffd\\ufffd|\\ufffd\\ufffd|"
                        "\\ufffd\\ufffd\\ufffd\\ufffd|\\n"));
}

TEST(JsonLineWriter, WhatIsWrittenIsReadAgain) {
  std::string all;
  for (int c = 0; c < 256; ++c) all.push_back(static_cast<char>(c == '\n' ? ' ' : c < 128 ? c : 'x'));
  logs::Record record;
  const std::string line = json(all);
  ASSERT_TRUE(logs::parse_json_line(line.substr(0, line.size() - 1), record));
  EXPECT_EQ(record.line, all + "\n");
  EXPECT_EQ(record.time, some_time());
}

// Keeps the records it is given.
class Collector final : public RecordWriter {
 public:
  struct Kept {
    std::string line;
    Timestamp time;
    bool partial;
    std::uint64_t id;
    std::uint32_t ordinal;
  };
  explicit Collector(std::vector<Kept>& kept) : kept_(kept) {}
  void record(const LogRecord& r) override {
    kept_.push_back({std::string(r.line), r.time, r.partial, r.partial_id, r.ordinal});
  }
  void flush() override {}

 private:
  std::vector<Kept>& kept_;
};

class LogSinkTest : public testing::Test {
 protected:
  LogSinkTest() {
    std::vector<std::unique_ptr<RecordWriter>> writers;
    writers.push_back(std::make_unique<Collector>(kept_));
    sink_ = std::make_unique<LogSink>(std::move(writers), std::make_shared<LogLosses>());
  }
  std::vector<Collector::Kept> kept_;
  std::unique_ptr<LogSink> sink_;
};

TEST_F(LogSinkTest, LinesAreAssembledAcrossReads) {
  sink_->write(Stream::out, "a");
  sink_->write(Stream::err, "E\n");
  sink_->write(Stream::out, "b\nc\n\nd");
  sink_->end_of(Stream::out);
  sink_->end_of(Stream::err);
  ASSERT_EQ(kept_.size(), 5U);
  EXPECT_EQ(kept_[0].line, "E");
  EXPECT_EQ(kept_[1].line, "ab");
  EXPECT_EQ(kept_[2].line, "c");
  EXPECT_EQ(kept_[3].line, "");
  EXPECT_EQ(kept_[4].line, "d");
  EXPECT_TRUE(kept_[4].partial);
  for (std::size_t i = 1; i < kept_.size(); ++i) EXPECT_LT(kept_[i - 1].time, kept_[i].time);
  EXPECT_GT(sink_->mark(), kept_.back().time);
}

TEST_F(LogSinkTest, LongLinesComeInPiecesOf16K) {
  const std::string line(40'000, 'x');
  // In one read and in many: the same pieces.
  sink_->write(Stream::out, line + "\nend\n");
  for (const char c : line) sink_->write(Stream::out, std::string_view(&c, 1));
  sink_->write(Stream::out, "\nend\n");
  ASSERT_EQ(kept_.size(), 8U);
  for (const std::size_t first : {0U, 4U}) {
    EXPECT_EQ(kept_[first].line.size(), 16'384U);
    EXPECT_TRUE(kept_[first].partial);
    EXPECT_EQ(kept_[first].ordinal, 1U);
    EXPECT_EQ(kept_[first + 1].line.size(), 16'384U);
    EXPECT_EQ(kept_[first + 2].line.size(), 40'000U - 2 * 16'384U);
    EXPECT_FALSE(kept_[first + 2].partial);
    EXPECT_EQ(kept_[first + 2].ordinal, 3U);
    EXPECT_EQ(kept_[first + 2].id, kept_[first].id);
    EXPECT_EQ(kept_[first + 3].line, "end");
    EXPECT_EQ(kept_[first + 3].id, 0U);
  }
  EXPECT_NE(kept_[0].id, kept_[4].id);
}

TEST_F(LogSinkTest, ALineOfExactly16K) {
  sink_->write(Stream::out, std::string(16'384, 'x') + "\n");
  ASSERT_EQ(kept_.size(), 2U);
  EXPECT_TRUE(kept_[0].partial);
  EXPECT_EQ(kept_[1].line, "");
}

class LogFileTest : public testing::Test {
 protected:
  LogFileTest() {
    std::string pattern = testing::TempDir() + "corten-shimlog-XXXXXX";
    root_ = ::mkdtemp(pattern.data());
    dir_ = UniqueFd(::open(root_.c_str(), O_DIRECTORY | O_CLOEXEC));
  }
  ~LogFileTest() override {
    sink_.reset();
    dir_.reset();
    if (mounted_) ::umount2(root_.c_str(), MNT_DETACH);
    std::filesystem::remove_all(root_);
  }
  void open(shimproto::LogDriver driver, std::uint64_t max_size = 0, std::uint32_t max_files = 1) {
    shimproto::LogConfig config;
    config.driver = driver;
    config.file_name = "log";
    config.max_size = max_size;
    config.max_files = max_files;
    auto sink = make_log_sink(*loop_, config, "id", dir_.get());
    ASSERT_TRUE(sink) << sink.error().text();
    sink_ = std::move(*sink);
  }
  std::string text(const std::string& name = "log") const {
    std::ostringstream out;
    out << std::ifstream(root_ + "/" + name, std::ios::binary).rdbuf();
    return out.str();
  }
  std::vector<std::string> lines(logs::Format format) {
    std::vector<std::string> all;
    auto reader = logs::LogReader::open(dir_.get(), "log", format, {}).value();
    for (;;) {
      auto next = reader->next({});
      if (!next || !*next) return all;
      all.push_back((*next)->line);
    }
  }

  std::string root_;
  UniqueFd dir_;
  bool mounted_ = false;
  std::unique_ptr<Loop> loop_ = Loop::create().value();
  std::unique_ptr<LogSink> sink_;
};

TEST_F(LogFileTest, LocalIsReadBack) {
  open(shimproto::LogDriver::local, 1000, 3);
  std::vector<std::string> expected;
  for (int i = 0; i < 100; ++i) {
    expected.push_back(fmt::format("number {}\n", i));
    sink_->write(Stream::out, expected.back());
  }
  EXPECT_TRUE(std::filesystem::exists(root_ + "/log.2"));
  EXPECT_FALSE(std::filesystem::exists(root_ + "/log.3"));
  const auto got = lines(logs::Format::local);
  EXPECT_EQ(got, std::vector<std::string>(expected.end() - static_cast<std::ptrdiff_t>(got.size()), expected.end()));
  EXPECT_EQ(got.size(), 100U);
}

TEST_F(LogFileTest, ATornEndOfAnEarlierRunIsPutAside) {
  for (const auto driver : {shimproto::LogDriver::local, shimproto::LogDriver::json_file}) {
    open(driver, 0, 3);
    sink_->write(Stream::out, "first\n");
    sink_.reset();
    std::filesystem::resize_file(root_ + "/log", std::filesystem::file_size(root_ + "/log") - 3);
    open(driver, 0, 3);
    sink_->write(Stream::out, "second\n");
    sink_.reset();
    const auto format = driver == shimproto::LogDriver::local ? logs::Format::local : logs::Format::json_file;
    EXPECT_EQ(lines(format), std::vector<std::string>{"second\n"});
    ASSERT_TRUE(logs::remove_log(dir_.get(), "log"));
  }
}

TEST_F(LogFileTest, OneFileOnlyIsStillBounded) {
  open(shimproto::LogDriver::json_file, 1000, 1);
  for (int i = 0; i < 1000; ++i) sink_->write(Stream::out, "line\n");
  EXPECT_LT(std::filesystem::file_size(root_ + "/log"), 1200U);
  EXPECT_FALSE(std::filesystem::exists(root_ + "/log.1"));
}

TEST_F(LogFileTest, AFullDiskIsCountedAndLeavesNoTornRecord) {
  if (::mount("none", root_.c_str(), "tmpfs", 0, "size=64k") != 0) GTEST_SKIP() << "cannot mount a tmpfs";
  mounted_ = true;
  dir_ = UniqueFd(::open(root_.c_str(), O_DIRECTORY | O_CLOEXEC));
  open(shimproto::LogDriver::json_file);
  for (int i = 0; i < 2000; ++i) sink_->write(Stream::out, "some text of a line\n");
  EXPECT_GT(sink_->losses().bytes, 0U);
  EXPECT_THAT(sink_->losses().error, HasSubstr("no space left"));
  EXPECT_THAT(text(), testing::EndsWith("}\n"));
  // Space again: the log goes on.
  std::filesystem::resize_file(root_ + "/log", 0);
  sink_->write(Stream::out, "afterwards\n");
  EXPECT_THAT(text(), HasSubstr("afterwards"));
}

TEST_F(LogFileTest, ReopenFollowsAnOutsideRotation) {
  open(shimproto::LogDriver::json_file);
  sink_->write(Stream::out, "one\n");
  std::filesystem::rename(root_ + "/log", root_ + "/moved");
  sink_->write(Stream::out, "two\n");
  sink_->reopen();
  sink_->write(Stream::out, "three\n");
  EXPECT_THAT(text("moved"), HasSubstr("two"));
  EXPECT_THAT(text(), StartsWith("{\"log\":\"three"));
}

TEST(Syslog, Formats) {
  ::setenv("TZ", "UTC", 1);
  ::tzset();
  shimproto::LogConfig config;
  config.tag = "web/0123";
  const LogRecord out{Stream::out, some_time(), "hello", false, 0, 0};
  const LogRecord err{Stream::err, some_time(), "oops", false, 0, 0};
  EXPECT_EQ(syslog_message(out, config, "host", 42), "<30>Nov 14 22:13:20 web/0123[42]: hello");
  EXPECT_EQ(syslog_message(err, config, "host", 42), "<27>Nov 14 22:13:20 web/0123[42]: oops");
  config.syslog_format = "rfc3164";
  EXPECT_EQ(syslog_message(out, config, "host", 42), "<30>Nov 14 22:13:20 host web/0123[42]: hello");
  config.syslog_format = "rfc5424";
  config.syslog_facility = 16;
  EXPECT_EQ(syslog_message(out, config, "host", 42), "<134>1 2023-11-14T22:13:20Z host web/0123 42 web/0123 - hello");
  config.syslog_format = "rfc5424micro";
  EXPECT_EQ(syslog_message(out, config, "host", 42),
            "<134>1 2023-11-14T22:13:20.120000Z host web/0123 42 web/0123 - hello");
}

TEST(Journald, FieldsAndPartialMessages) {
  shimproto::LogConfig config;
  config.fields = {{"CONTAINER_NAME", "web"}};
  const std::string whole = journald_message({Stream::err, some_time(), "hello", false, 0, 0}, config, "id");
  EXPECT_THAT(whole, HasSubstr("MESSAGE=hello\nPRIORITY=3\n"));
  EXPECT_THAT(whole, HasSubstr("CONTAINER_NAME=web\n"));
  EXPECT_THAT(whole, testing::Not(HasSubstr("PARTIAL")));
  const std::string piece = journald_message({Stream::out, some_time(), "x", true, 7, 2}, config, "id");
  EXPECT_THAT(piece,
              HasSubstr("CONTAINER_PARTIAL_MESSAGE=true\nCONTAINER_PARTIAL_ID=id-7\nCONTAINER_PARTIAL_ORDINAL=2\n"
                        "CONTAINER_PARTIAL_LAST=false\n"));
}

class SyslogSocketTest : public LogFileTest {
 protected:
  UniqueFd listen(int type, const std::string& path) {
    UniqueFd socket(::socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    EXPECT_EQ(::bind(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    EXPECT_TRUE(type != SOCK_STREAM || ::listen(socket.get(), 4) == 0);
    return socket;
  }
  void open_syslog(const std::string& address, std::uint64_t buffer = 0) {
    shimproto::LogConfig config;
    config.driver = shimproto::LogDriver::syslog;
    config.address = address;
    config.tag = "t";
    config.max_buffer = buffer;
    sink_ = make_log_sink(*loop_, config, "id", -1).value();
  }
  void run_loop(std::chrono::milliseconds time) {
    loop_->after(time, [this] { loop_->stop(); });
    loop_->run();
  }
};

TEST_F(SyslogSocketTest, DatagramsArriveOnePerLine) {
  const std::string path = root_ + "/s";
  const UniqueFd socket = listen(SOCK_DGRAM, path);
  open_syslog("unixgram:" + path);
  sink_->write(Stream::out, "one\ntwo\n");
  std::array<char, 256> buffer;
  for (const char* word : {"one", "two"}) {
    const ssize_t got = ::recv(socket.get(), buffer.data(), buffer.size(), 0);
    ASSERT_GT(got, 0);
    EXPECT_THAT(std::string(buffer.data(), static_cast<std::size_t>(got)), testing::EndsWith(word));
  }
  EXPECT_TRUE(sink_->drained());
}

TEST_F(SyslogSocketTest, AReceiverThatComesLaterGetsWhatWasKept) {
  const std::string path = root_ + "/s";
  open_syslog("unix:" + path);
  sink_->write(Stream::out, "early\n");
  EXPECT_FALSE(sink_->drained());
  const UniqueFd listener = listen(SOCK_STREAM, path);
  run_loop(std::chrono::milliseconds(500));
  const UniqueFd connection(::accept(listener.get(), nullptr, nullptr));
  ASSERT_TRUE(connection);
  std::array<char, 256> buffer;
  const ssize_t got = ::recv(connection.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
  ASSERT_GT(got, 0);
  EXPECT_THAT(std::string(buffer.data(), static_cast<std::size_t>(got)), testing::EndsWith("early\n"));
}

TEST_F(SyslogSocketTest, WhatDoesNotFitIsCounted) {
  open_syslog("unix:" + root_ + "/nobody", 1000);
  for (int i = 0; i < 100; ++i) sink_->write(Stream::out, "a line of some length\n");
  EXPECT_GT(sink_->losses().bytes, 1000U);
  EXPECT_FALSE(sink_->drained());
}

TEST(LogAddress, Forms) {
  EXPECT_EQ(parse_log_address("udp:127.0.0.1:514")->type, SOCK_DGRAM);
  EXPECT_EQ(parse_log_address("tcp:[::1]:514")->family, AF_INET6);
  for (const char* bad : {"", "udp", "udp:host:514", "udp:1.2.3.4", "udp:1.2.3.4:x", "unix:", "ftp:1.2.3.4:5"})
    EXPECT_FALSE(parse_log_address(bad)) << bad;
}

TEST(OutboxTest, KeepsOrderThroughMemoryAndFile) {
  const UniqueFd dir(::open(testing::TempDir().c_str(), O_DIRECTORY | O_CLOEXEC));
  Outbox outbox(dir.get(), 16U << 20);
  std::string expected;
  std::string got;
  unsigned state = 1;
  const auto random = [&](unsigned limit) { return (state = state * 1'103'515'245 + 12'345, (state >> 16U) % limit); };
  for (int i = 0; i < 4000; ++i) {
    std::string piece(random(8000), static_cast<char>('a' + i % 26));
    ASSERT_TRUE(outbox.append(piece));
    expected += piece;
    while (random(3) == 0 && !outbox.empty()) {
      const auto front = outbox.front().value();
      const std::size_t take = 1 + random(static_cast<unsigned>(front.size()));
      got.append(front.substr(0, take));
      outbox.drop(take);
    }
  }
  while (!outbox.empty()) {
    const auto front = outbox.front().value();
    ASSERT_FALSE(front.empty());
    got.append(front);
    outbox.drop(front.size());
  }
  EXPECT_TRUE(got == expected);
}

TEST(OutboxTest, TheLimitHolds) {
  const UniqueFd dir(::open(testing::TempDir().c_str(), O_DIRECTORY | O_CLOEXEC));
  Outbox outbox(dir.get(), 100'000);
  ASSERT_TRUE(outbox.append(std::string(90'000, 'x')));
  EXPECT_EQ(outbox.append(std::string(10'001, 'x')).error().kind(), ErrorKind::exhausted);
  EXPECT_EQ(outbox.size(), 90'000U);
  EXPECT_TRUE(outbox.append(std::string(10'000, 'x')));
}

TEST(DetachScannerTest, HoldsBackOnlyABeginning) {
  DetachScanner scanner("ab");
  std::string out;
  EXPECT_FALSE(scanner.feed("xaxa", out));
  EXPECT_EQ(out, "xax");
  EXPECT_FALSE(scanner.feed("a", out));
  EXPECT_EQ(out, "xaxa");
  EXPECT_TRUE(scanner.feed("bmore", out));
  EXPECT_EQ(out, "xaxa");
  DetachScanner single("q");
  EXPECT_TRUE(single.feed("q", out));
  DetachScanner none("");
  EXPECT_FALSE(none.feed("anything", out));
}

}  // namespace
}  // namespace corten::shim
