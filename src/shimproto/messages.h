// The body of each message. fields() lists a struct's wire fields once, for both directions.
//
//   daemon                                   shim
//     ── hello{version} ───────────────────►        only over shim.sock
//     ◄─────────────── reply{ShimStatus} + pidfd
//     ── start + plan fds, run dir, log dir, client fds ─►
//     ◄─── reply{ShimState, attach ids} + pidfd | Error
//     ── exec / attach / resize / … {…} ───►
//     ◄─────────────────── reply{…} | Error         by id, in any order
//     ◄──────── exec_exited, attach_closed          any time
//     ◄───────────────────────────── exited         once; output is in the log, the record in the run directory
//     ── exit_ack ─────────────────────────►        the shim ends when its readers have been served
#pragma once

#include "shimproto/types.h"
#include "shimproto/wire.h"

namespace corten::shimproto {

inline constexpr std::uint32_t protocol_version = 1;

template <class A>
void fields(A& a, LogConfig& v) {
  a(v.driver), a(v.file_name), a(v.max_size), a(v.max_files), a(v.attributes), a(v.max_buffer), a(v.address);
  a(v.syslog_format), a(v.syslog_facility), a(v.tag), a(v.fields);
}
// fd is passed beside the message.
template <class A>
void fields(A& a, AttachSpec& v) {
  a(v.want_stdin), a(v.want_stdout), a(v.want_stderr), a(v.multiplexed), a(v.already_read), a(v.detach_keys),
      a(v.paused);
}
// Descriptors beside it: run_dir, log_dir (if has_log_dir), one per attach, then the plan's.
struct StartMessage {
  StartRequest request;
  bool has_log_dir = false;
  std::uint32_t plan_fd_count = 0;
};
template <class A>
void fields(A& a, StartMessage& v) {
  auto& r = v.request;
  a(r.container_id), a(r.plan), a(r.log), a(r.tty), a(r.rows), a(r.columns), a(r.stdin_open), a(r.stdin_once);
  a(r.reader_limit), a(r.attaches), a(v.has_log_dir), a(v.plan_fd_count);
}
// Descriptors beside it: the attach's (if any), then the plan's.
struct ExecMessage {
  ExecRequest request;
};
template <class A>
void fields(A& a, ExecMessage& v) {
  auto& r = v.request;
  a(r.exec_id), a(r.plan), a(r.tty), a(r.rows), a(r.columns), a(r.stdin_open), a(r.attach);
}
template <class A>
void fields(A& a, ShimState& v) {
  a(v.container_id), a(v.shim_pid), a(v.pid), a(v.started), a(v.start_ticks), a(v.tty);
}
template <class A>
void fields(A& a, ExitRecord& v) {
  a(v.code), a(v.signal), a(v.oom), a(v.finished);
}
template <class A>
void fields(A& a, ShimStatus& v) {
  a(v.state), a(v.execs), a(v.exit), a(v.log_bytes_lost), a(v.log_error);
}
template <class A>
void fields(A& a, Started& v) {
  a(v.pid), a(v.time), a(v.attach_ids);
}
template <class A>
void fields(A& a, AttachReply& v) {
  a(v.attach_id), a(v.log_until);
}
struct StartReply {
  ShimState state;
  std::vector<std::uint64_t> attach_ids;
};
template <class A>
void fields(A& a, StartReply& v) {
  a(v.state), a(v.attach_ids);
}
struct HelloMessage {
  std::uint32_t version = protocol_version;
};
template <class A>
void fields(A& a, HelloMessage& v) {
  a(v.version);
}
struct AttachIdMessage {
  std::uint64_t attach_id = 0;
};
template <class A>
void fields(A& a, AttachIdMessage& v) {
  a(v.attach_id);
}
struct ResizeMessage {
  std::string exec_id;
  std::uint16_t rows = 0;
  std::uint16_t columns = 0;
};
template <class A>
void fields(A& a, ResizeMessage& v) {
  a(v.exec_id), a(v.rows), a(v.columns);
}
struct SignalMessage {
  std::string exec_id;
  std::int32_t signo = 0;
};
template <class A>
void fields(A& a, SignalMessage& v) {
  a(v.exec_id), a(v.signo);
}
struct ExecIdMessage {
  std::string exec_id;
};
template <class A>
void fields(A& a, ExecIdMessage& v) {
  a(v.exec_id);
}
struct ExecExitedEvent {
  std::string exec_id;
  ExitRecord exit;
};
template <class A>
void fields(A& a, ExecExitedEvent& v) {
  a(v.exec_id), a(v.exit);
}
struct AttachClosedEvent {
  std::uint64_t attach_id = 0;
  AttachEnd end{};
};
template <class A>
void fields(A& a, AttachClosedEvent& v) {
  a(v.attach_id), a(v.end);
}
struct Empty {};
template <class A>
void fields(A&, Empty&) {}

// A reply's body: ok, then the answer; or the error with its kind and errno, so that it survives the border.
struct ErrorBody {
  ErrorKind kind{};
  std::int32_t sys_errno = 0;
  std::string text;
};
template <class A>
void fields(A& a, ErrorBody& v) {
  a(v.kind), a(v.sys_errno), a(v.text);
}
template <class T>
std::string encode_reply(const Result<T>& result) {
  Encoder encoder;
  encoder(result.has_value());
  if (result) {
    encoder(*result);
  } else {
    encoder(ErrorBody{result.error().kind(), result.error().sys_errno(), result.error().text()});
  }
  return encoder.take();
}
template <class T>
Result<T> decode_reply(std::string_view body) {
  if (body.empty()) return fail(ErrorKind::invalid, "empty reply from the shim");
  if (body[0] != 0) return decode<T>(body.substr(1));
  auto error = TRY(decode<ErrorBody>(body.substr(1)));
  if (error.kind > ErrorKind::deadline) error.kind = ErrorKind::internal;
  return std::unexpected(Error(error.kind, std::move(error.text), error.sys_errno));
}

// exec-root/containers/ID/{shim.sock,state,exit}: written by the shim to a temporary name and renamed.
inline constexpr char socket_name[] = "shim.sock";
inline constexpr char state_name[] = "state";
inline constexpr char exit_name[] = "exit";
std::string format_state(const ShimState& state);
std::string format_exit(const ExitRecord& exit);
// For either side: bind or connect by way of the directory's descriptor, so that no path is too long for sun_path.
std::string socket_path(int run_dir);

}  // namespace corten::shimproto
