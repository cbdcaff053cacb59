// Where a container's output is recorded. Writing never blocks on a receiver and never fails the caller: what could not
// be written is counted.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/time.h"
#include "base/unique_fd.h"
#include "shim/client.h"
#include "shim/loop.h"
#include "shimproto/types.h"

namespace corten::shim {

// One line, or a piece of one that is longer than 16 KiB or has no end.
struct LogRecord {
  Stream stream = Stream::out;
  Timestamp time{};
  std::string_view line;  // without its line end
  bool partial = false;   // not the end of the line
  // Of a line in pieces: counts the line, and the pieces of it. 0: a whole line.
  std::uint64_t partial_id = 0;
  std::uint32_t ordinal = 0;
};

struct LogLosses {
  std::uint64_t bytes = 0;
  std::string error;  // the last reason
  void count(std::uint64_t lost, std::string_view reason) {
    bytes += lost;
    if (error != reason) error = reason;
  }
};

// A driver's own part.
class RecordWriter {
 public:
  virtual ~RecordWriter() = default;
  virtual void record(const LogRecord& record) = 0;
  // After the records of one piece of output.
  virtual void flush() = 0;
  virtual void reopen() {}
  // Bytes held for speed can be given back.
  virtual void shrink() {}
  virtual bool drained() const { return true; }
};

// Splits output into records as Docker does, and stamps them with times that only grow.
class LogSink {
 public:
  LogSink(std::vector<std::unique_ptr<RecordWriter>> writers, std::shared_ptr<LogLosses> losses)
      : writers_(std::move(writers)), losses_(std::move(losses)) {}

  void write(Stream stream, std::string_view bytes);
  // The stream has ended: a line without an end is written as it is.
  void end_of(Stream stream);
  // Every record so far has a time of at most this, every later one a greater one.
  Timestamp mark();
  void reopen();
  void shrink();
  // Nothing waits for a receiver any more.
  bool drained() const;
  const LogLosses& losses() const { return *losses_; }

 private:
  struct Line {
    std::string begun;  // of a line whose end has not come yet
    std::uint64_t partial_id = 0;
    std::uint32_t ordinal = 0;
    Timestamp first{};
  };
  Line& line_of(Stream stream) { return stream == Stream::out ? out_ : err_; }
  void emit(Stream stream, Line& line, std::string_view text, bool partial);
  Timestamp next_time();

  std::vector<std::unique_ptr<RecordWriter>> writers_;
  std::shared_ptr<LogLosses> losses_;
  Line out_;
  Line err_;
  Timestamp clock_{};  // of this piece of output
  Timestamp last_{};
  std::uint64_t last_partial_id_ = 0;
};

// `directory`: where log files are; -1 if the driver needs none.
Result<std::unique_ptr<LogSink>> make_log_sink(Loop& loop, const shimproto::LogConfig& config,
                                               const std::string& container_id, int directory);

}  // namespace corten::shim
