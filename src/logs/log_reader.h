// Reading a container's log files: newest N records, a span of time, following a file that grows and is rotated.
//
// The files are written by corten-shim (json-file in Docker's format; local in the format of local_format.h), but what
// is read is taken as hostile: a damaged line is skipped (json-file) or ends that file (local), nothing is unbounded. A
// last line without its end is not yet a record.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>

#include "base/error.h"
#include "base/time.h"
#include "base/unique_fd.h"

namespace corten::logs {

enum class Format : std::uint8_t { json_file, local };
enum class Stream : std::uint8_t { out = 1, err = 2 };

struct Record {
  Timestamp time{};
  Stream stream = Stream::out;
  std::string line;        // with its line end, unless partial
  bool partial = false;    // a piece of a longer line: the next record of the stream goes on with it
  std::string attributes;  // the JSON object of "attrs", empty where there is none
};

struct ReadOptions {
  bool want_stdout = true;
  bool want_stderr = true;
  std::optional<Timestamp> since;  // records at or after
  std::optional<Timestamp> until;  // records at or before
  // Begin with the last N records of the log, before the other conditions are looked at (as Docker does); negative:
  // all.
  std::int64_t tail = -1;
  bool follow = false;
};

// Reads one container's log once, oldest record first. Not thread-safe.
class LogReader {
 public:
  // `log_dir` is borrowed for the reader's life. A log that was never written is an empty one.
  static Result<std::unique_ptr<LogReader>> open(int log_dir, std::string file_name, Format format,
                                                 ReadOptions options);
  virtual ~LogReader() = default;

  // The next record; nullopt at the end. With follow, waits for more until `stop` is asked (then: cancelled) or the
  // container has ended: once end_of_log() was called, what is in the files is still delivered, then nullopt.
  virtual Result<std::optional<Record>> next(std::stop_token stop) = 0;
  // Callable from any thread: nothing will be written any more.
  virtual void end_of_log() = 0;
  // Callable before next blocks: is there a record without waiting? Lets a caller flush his output before he waits.
  virtual bool ready() = 0;
};

// The bytes of all files of this log, for `ps -s` and `system df`.
Result<std::uint64_t> log_size(int log_dir, const std::string& file_name);
// Removes all files of this log.
Result<> remove_log(int log_dir, const std::string& file_name);

}  // namespace corten::logs
