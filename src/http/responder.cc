#include "http/responder.h"

#include <sys/sendfile.h>

#include <array>
#include <cerrno>
#include <ctime>

#include "http/server_core.h"

namespace corten::http {
namespace {

// A body that nobody read is read and dropped up to this size; longer ones cost the client its connection.
constexpr std::uint64_t max_drain = 256 << 10;

bool status_has_body(int status) { return status >= 200 && status != 204 && status != 304; }

// A field from a handler must not be able to start a new line.
void append_field(std::string& head, std::string_view name, std::string_view value) {
  head += name;
  head += ": ";
  for (const char c : value) head += c == '\r' || c == '\n' || c == '\0' ? ' ' : c;
  head += "\r\n";
}

}  // namespace

std::string error_body(std::string_view message) {
  std::string body = "{\"message\":\"";
  for (const char c : message) {
    if (c == '"' || c == '\\') {
      body += '\\';
      body += c;
    } else if (static_cast<unsigned char>(c) >= 0x7f) {
      body += '?';  // a stranger's bytes, perhaps not even UTF-8
    } else if (static_cast<unsigned char>(c) < 0x20) {
      body += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
    } else {
      body += c;
    }
  }
  return body + "\"}\n";
}

std::string http_date() {
  static constexpr std::array days{"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  static constexpr std::array months{"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                     "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  const std::time_t seconds = std::time(nullptr);
  std::tm utc{};
  ::gmtime_r(&seconds, &utc);
  return fmt::format("{}, {:02} {} {} {:02}:{:02}:{:02} GMT", days.at(static_cast<std::size_t>(utc.tm_wday)),
                     utc.tm_mday, months.at(static_cast<std::size_t>(utc.tm_mon)), utc.tm_year + 1900, utc.tm_hour,
                     utc.tm_min, utc.tm_sec);
}

ConnectionBody::ConnectionBody(ServerConnection& connection, const RequestHead& head)
    : connection_(connection),
      reader_(connection.stream(), connection.input(), head.framing, head.length),
      continue_pending_(head.expects_continue && head.framing != Framing::none) {}

Result<std::size_t> ConnectionBody::read(std::span<std::byte> into) {
  const auto deadline = Deadline::after(connection_.core().options.idle_timeout);
  if (std::exchange(continue_pending_, false) && connection_.input().empty())
    CHECK(write_text(connection_.stream(), {"HTTP/1.1 100 Continue\r\n\r\n"}, deadline));
  auto count = reader_.read(into, deadline);
  if (!count && count.error().kind() == ErrorKind::deadline)
    return std::unexpected(std::move(count).error().as(ErrorKind::cancelled));
  return count;
}

bool ConnectionBody::worth_draining() const {
  if (reader_.at_end()) return true;
  return !continue_pending_ && reader_.remaining().value_or(0) <= max_drain;
}

Result<> ConnectionBody::drain() {
  std::array<std::byte, 8192> scrap;
  std::uint64_t dropped = 0;
  const auto deadline = Deadline::after(std::chrono::seconds(5));
  while (!reader_.at_end()) {
    dropped += TRY(reader_.read(scrap, deadline));
    if (dropped > max_drain) return fail(ErrorKind::invalid, "the unread body is too long");
  }
  return {};
}

Responder::Responder(ServerConnection& connection, const RequestHead& head, ConnectionBody& body)
    : connection_(connection), request_(head), body_(body), keep_alive_(head.keep_alive) {}

Result<> Responder::claim(int status, Mode mode) {
  if (mode_ != Mode::none) return fail(ErrorKind::internal, "the request is answered already, with {}", status_);
  mode_ = mode;
  status_ = status;
  head_sent_ = true;
  if (mode == Mode::until_close || !body_.worth_draining() || connection_.core().stopping()) keep_alive_ = false;
  return {};
}

std::string Responder::make_head(std::string_view content_type, std::string_view framing) {
  std::string head;
  head.reserve(384);
  fmt::format_to(std::back_inserter(head), "HTTP/1.{} {} {}\r\n", request_.version_minor, status_,
                 reason_phrase(status_));
  for (const auto& [name, value] : headers_) append_field(head, name, value);
  if (!content_type.empty() && !headers_.has("Content-Type")) append_field(head, "Content-Type", content_type);
  const auto& server = connection_.core().options.server_name;
  if (!server.empty() && !headers_.has("Server")) append_field(head, "Server", server);
  append_field(head, "Date", http_date());
  if (!keep_alive_) {
    append_field(head, "Connection", "close");
  } else if (request_.version_minor == 0) {
    append_field(head, "Connection", "keep-alive");
  }
  head += framing;
  head += "\r\n";
  return head;
}

Result<> Responder::send(std::initializer_list<std::string_view> pieces, Deadline deadline) {
  if (broken_) return fail(ErrorKind::cancelled, "the client is gone");
  auto sent = write_text(connection_.stream(), pieces, deadline);
  if (!sent) broken_ = true;
  return sent;
}

Result<> Responder::write_all(int status, std::string_view body, std::string_view content_type) {
  if (!status_has_body(status)) return write_empty(status);
  CHECK(claim(status, Mode::complete));
  const auto head = make_head(content_type, fmt::format("Content-Length: {}\r\n", body.size()));
  if (request_.method == "HEAD") body = {};
  return send({head, body}, Deadline::after(connection_.core().options.idle_timeout));
}

Result<> Responder::write_empty(int status) {
  CHECK(claim(status, Mode::complete));
  return send({make_head({}, status_has_body(status) ? "Content-Length: 0\r\n" : "")});
}

Result<> Responder::begin(int status, std::string_view content_type, Mode mode, std::string_view framing) {
  CHECK(claim(status, mode));
  if (request_.method == "HEAD" || !status_has_body(status)) mode_ = Mode::complete;
  return send({make_head(content_type, framing)});
}

Result<> Responder::begin_stream(int status, std::string_view content_type) {
  if (request_.version_minor == 0) return begin(status, content_type, Mode::until_close, "");
  return begin(status, content_type, Mode::chunked, "Transfer-Encoding: chunked\r\n");
}

Result<> Responder::begin_stream(int status, std::string_view content_type, std::uint64_t length) {
  remaining_ = length;
  return begin(status, content_type, Mode::counted, fmt::format("Content-Length: {}\r\n", length));
}

Result<> Responder::write(std::string_view bytes) {
  if (bytes.empty()) return broken_ ? send({}) : Result<>();
  switch (mode_) {
    case Mode::none: return fail(ErrorKind::internal, "wrote a body before its head");
    case Mode::complete: return {};  // HEAD, 204, 304
    case Mode::chunked: return send({fmt::format("{:x}\r\n", bytes.size()), bytes, "\r\n"});
    case Mode::until_close: return send({bytes});
    case Mode::counted: break;
  }
  if (bytes.size() > remaining_) {
    fail_stream();
    return fail(ErrorKind::internal, "wrote {} bytes more than announced", bytes.size() - remaining_);
  }
  remaining_ -= bytes.size();
  return send({bytes});
}

Result<> Responder::write_file(int fd, std::uint64_t offset, std::uint64_t count) {
  if (mode_ != Mode::counted || connection_.stream().is_tls() || broken_ || count > remaining_)
    return ResponseWriter::write_file(fd, offset, count);
  auto at = static_cast<off64_t>(offset);
  while (count > 0) {
    const ssize_t sent = ::sendfile64(connection_.stream().fd(), fd, &at, static_cast<std::size_t>(count));
    if (sent < 0 && errno == EINTR) continue;
    if (sent == 0) {
      fail_stream();
      return fail(ErrorKind::invalid, "a file for the answer ends {} bytes early", count);
    }
    if (sent < 0) {
      const int error = errno;
      fail_stream();
      if (error == EPIPE || error == ECONNRESET) return fail(ErrorKind::cancelled, "the client is gone");
      return sys_fail_text(error, "send a file");
    }
    count -= static_cast<std::uint64_t>(sent);
    remaining_ -= static_cast<std::uint64_t>(sent);
  }
  return {};
}

void Responder::fail_stream() {
  broken_ = true;
  keep_alive_ = false;
}

Result<> Responder::begin_hijack(int status) {
  // Bytes of the body must not be taken for the stream's.
  if (!body_.worth_draining()) return fail(ErrorKind::invalid, "the request's body is in the way of its stream");
  CHECK_AS(body_.drain(), "read the request's body");
  CHECK(claim(status, Mode::complete));
  keep_alive_ = false;
  return {};
}

Result<HijackedConnection> Responder::hijack_websocket(bool text) {
  const std::string accept = TRY(accept_websocket(request_.method, request_.headers));
  CHECK(begin_hijack(101));
  std::string head = "HTTP/1.1 101 Switching Protocols\r\n";
  for (const auto& [name, value] : headers_) append_field(head, name, value);
  append_field(head, "Upgrade", "websocket");
  append_field(head, "Connection", "Upgrade");
  append_field(head, "Sec-WebSocket-Accept", accept);
  // A single proposal is agreed to, as Docker does: a browser hangs up on an answer without one.
  const auto protocol = request_.headers.get("Sec-WebSocket-Protocol");
  if (protocol && !protocol->contains(',')) append_field(head, "Sec-WebSocket-Protocol", *protocol);
  head += "\r\n";
  CHECK(send({head}));
  auto connection = connection_.hand_over_websocket(text ? WebSocketOpcode::text : WebSocketOpcode::binary);
  hijacked_ = true;
  return connection;
}

Result<HijackedConnection> Responder::hijack(std::string_view content_type) {
  const auto asked = request_.headers.get("Upgrade");
  CHECK(begin_hijack(asked ? 101 : 200));
  std::string head = fmt::format("HTTP/1.1 {} {}\r\n", status_, reason_phrase(status_));
  for (const auto& [name, value] : headers_) append_field(head, name, value);
  if (!content_type.empty() && !headers_.has("Content-Type")) append_field(head, "Content-Type", content_type);
  if (asked) {
    append_field(head, "Connection", "Upgrade");
    append_field(head, "Upgrade", *asked);
  }
  head += "\r\n";
  CHECK(send({head}));
  auto connection = connection_.hand_over();
  hijacked_ = true;
  return connection;
}

bool Responder::finish() {
  if (hijacked_) return false;
  if (mode_ == Mode::none) {
    headers_.clear();
    if (!write_all(500, error_body("the request was not answered"), "application/json")) return false;
  }
  if (broken_) return false;
  if (mode_ == Mode::chunked && !send({"0\r\n\r\n"})) return false;
  if (mode_ == Mode::until_close || (mode_ == Mode::counted && remaining_ > 0)) return false;
  if (!keep_alive_) return false;
  return body_.drain().has_value();
}

}  // namespace corten::http
