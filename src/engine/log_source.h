// A container's log, opened for reading, and the form of what goes to attached clients.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/unique_fd.h"
#include "engine/layout.h"
#include "engine/view.h"
#include "logs/log_reader.h"

namespace corten::engine {

class LogSource {
 public:
  // not_implemented with Docker's text for drivers whose log cannot be read.
  static Result<LogSource> open(const Layout& layout, const Definition& definition, logs::ReadOptions options);
  logs::LogReader& reader() { return *reader_; }

 private:
  UniqueFd directory_;
  std::unique_ptr<logs::LogReader> reader_;  // borrows directory_
};

// Docker's 8-byte header (1: stdout, 2: stderr; length) and the text.
std::string stream_frame(bool is_stderr, std::string_view text);
// All of it, framed or raw, to a connection that may be slow.
Result<> write_stream(int fd, bool multiplexed, bool is_stderr, std::string_view text);
// Says in the stream of an attached client, whose head has gone out, what went wrong, and ends it.
void end_stream(int fd, bool multiplexed, bool is_stderr, const Error& why);

// {"a":"1","b":"2"} as "a=1,b=2", sorted: what --details shows.
std::string attributes_text(std::string_view json_object);

}  // namespace corten::engine
