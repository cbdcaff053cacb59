// The log drivers that send: syslog and journald. What their receiver does not take at once waits in a bounded buffer;
// what does not fit is dropped and counted.
#pragma once

#include "shim/log_sink.h"

namespace corten::shim {

std::unique_ptr<RecordWriter> make_syslog_writer(Loop& loop, const shimproto::LogConfig& config,
                                                 std::shared_ptr<LogLosses> losses);
std::unique_ptr<RecordWriter> make_journald_writer(Loop& loop, const shimproto::LogConfig& config,
                                                   const std::string& container_id, std::shared_ptr<LogLosses> losses);

// The text of one syslog message, without framing. For tests beside the writer.
std::string syslog_message(const LogRecord& record, const shimproto::LogConfig& config, std::string_view host_name,
                           int pid);
// One datagram in journald's native protocol.
std::string journald_message(const LogRecord& record, const shimproto::LogConfig& config,
                             std::string_view container_id);

// "unix:/path", "unixgram:/path", "tcp:1.2.3.4:514", "udp:[::1]:514" as what socket() and connect() want.
struct LogAddress {
  int family = 0;
  int type = 0;
  std::string bytes;  // a sockaddr_*
};
Result<LogAddress> parse_log_address(std::string_view address);

}  // namespace corten::shim
