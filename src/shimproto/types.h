// What daemon and shim tell each other about, as plain data. Descriptors in requests are borrowed: the sender keeps its
// own and may close it once the call has returned.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/time.h"

namespace corten::shimproto {

enum class LogDriver : std::uint8_t { none, json_file, local, syslog, journald };

// A container's log, compiled by compile_log_config (log_options.h): checked, tags rendered, host names resolved.
struct LogConfig {
  LogDriver driver = LogDriver::none;
  // json_file and local: the name of the current file inside the log directory; older ones get .1, .2 … appended.
  std::string file_name;
  std::uint64_t max_size = 0;  // bytes after which a file is rotated; 0: never
  std::uint32_t max_files = 1;
  // json_file: a JSON object text put in each line as "attrs", empty for none.
  std::string attributes;
  // Non-blocking is the shim's nature; a limit other than 0 bounds what waits for a slow receiver (syslog, journald).
  std::uint64_t max_buffer = 0;
  // syslog: "unix:/dev/log", "unixgram:…", "tcp:1.2.3.4:514", "udp:[::1]:514".
  std::string address;
  std::string syslog_format;  // "", "rfc3164", "rfc5424", "rfc5424micro"
  std::uint32_t syslog_facility = 3;
  std::string tag;
  // journald: further NAME=value fields.
  std::vector<std::pair<std::string, std::string>> fields;
};

// A reader (and perhaps writer) of a process's streams.
struct AttachSpec {
  // A connected socket (the hijacked HTTP connection or one end of a socket pair), or for output only also a pipe or
  // file.
  int fd = -1;
  bool want_stdin = false;
  bool want_stdout = false;
  bool want_stderr = false;
  // Docker's 8-byte stream frames; false: raw bytes (always so with a terminal).
  bool multiplexed = false;
  // Bytes that the HTTP server had read beyond the request head: the first of stdin.
  std::string already_read;
  // The byte sequence that detaches (shimproto::parse_detach_keys), empty for none. Only looked for on a terminal, as
  // Docker does.
  std::string detach_keys;
  // Output is held back (in the reader's bounded buffer) until ShimClient::resume_attach: for replaying the log first.
  bool paused = false;
};

struct StartRequest {
  std::string container_id;
  // runtime::serialize(LaunchPlan) and the descriptors that the plan names by index.
  std::string plan;
  std::vector<int> plan_fds;
  // exec-root/containers/ID, opened as a directory: the shim keeps shim.sock, state and exit there.
  int run_dir = -1;
  // data-root/containers/ID, opened as a directory; needed by json_file and local.
  int log_dir = -1;
  LogConfig log;
  bool tty = false;
  std::uint16_t rows = 0;
  std::uint16_t columns = 0;
  bool stdin_open = false;  // OpenStdin: a pipe; false: /dev/null
  bool stdin_once = false;  // StdinOnce: closed when the first attached client's stdin ends
  // What a reader may leave unread before it is cut off, in bytes.
  std::uint64_t reader_limit = 64U << 20;
  // Readers there before the first byte of output (attach before start).
  std::vector<AttachSpec> attaches;
};

struct ExecRequest {
  std::string exec_id;
  std::string plan;  // runtime::serialize(ExecPlan)
  std::vector<int> plan_fds;
  bool tty = false;
  std::uint16_t rows = 0;
  std::uint16_t columns = 0;
  bool stdin_open = false;
  // Who gets the output; none: it is thrown away.
  std::optional<AttachSpec> attach;
};

struct Started {
  pid_t pid = 0;
  Timestamp time{};
  // For each of StartRequest::attaches, or one for ExecRequest::attach.
  std::vector<std::uint64_t> attach_ids;
};

struct AttachReply {
  std::uint64_t attach_id = 0;
  // Every log record up to here was written before the reader was added, every one after it comes through the reader.
  Timestamp log_until{};
};

struct ExitRecord {
  int code = 0;    // exit code; 128 + signal where a signal ended it
  int signal = 0;  // 0: it exited by itself
  bool oom = false;
  Timestamp finished{};

  bool operator==(const ExitRecord&) const = default;
};

enum class AttachEnd : std::uint8_t {
  stream_end,  // the process's output ended and was delivered
  detached,    // the detach keys, or ShimClient::detach
  client_gone,
  too_slow,  // the reader left more than reader_limit unread
};

// What a reader of the run directory or a reconnecting daemon learns.
struct ShimState {
  std::string container_id;
  pid_t shim_pid = 0;
  pid_t pid = 0;
  Timestamp started{};
  // The process's start time in clock ticks since boot (/proc/PID/stat field 22): with pid, an identity that outlives a
  // reuse of the number.
  std::uint64_t start_ticks = 0;
  bool tty = false;
};

struct ShimStatus {
  ShimState state;
  std::vector<std::pair<std::string, pid_t>> execs;  // running ones
  std::optional<ExitRecord> exit;
  std::uint64_t log_bytes_lost = 0;  // could not be written (disk full, receiver gone)
  std::string log_error;             // the last reason
};

}  // namespace corten::shimproto
