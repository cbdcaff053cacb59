// What a server's handler gets: the request, and the writer for its answer.
//
// Both live on the connection's thread for the time of one call of the handler and may block there without anybody
// else noticing. ResponseWriter and the body behind Request are interfaces, so that handlers can be tested without a
// socket.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>

#include "base/error.h"
#include "http/headers.h"
#include "http/hijack.h"

namespace corten::http {

inline constexpr std::size_t default_body_limit = 4 << 20;

enum class Transport : std::uint8_t { unix_socket, tcp, tls };

struct Peer {
  Transport transport = Transport::unix_socket;
  // Unix sockets only: who called connect().
  pid_t pid = 0;
  uid_t uid = 0;
  gid_t gid = 0;
  std::string address;      // "10.0.0.7:41234" or "[fe80::1]:41234"; empty for unix sockets
  std::string tls_subject;  // common name of the verified client certificate, empty where there is none
};

// The body as it arrives, and the sign that nobody waits for the answer any more.
class RequestBody {
 public:
  virtual ~RequestBody() = default;
  // Blocks until there is something; 0 at the body's end. invalid: broken framing; cancelled: the client is gone or
  // sent nothing for five minutes.
  virtual Result<std::size_t> read(std::span<std::byte> into) = 0;
  virtual std::stop_token stop_token() = 0;
};

struct Request {
  std::string method;    // as sent: "GET"
  std::string raw_path;  // as sent, without query: "/v1.51/images/a%2Fb/json"
  std::string path;      // percent-decoded
  std::string raw_query;
  Query query;
  Headers headers;
  int version_minor = 1;  // HTTP/1.x
  Peer peer;
  // As announced. nullopt: chunked, or no body.
  std::optional<std::uint64_t> content_length;
  bool has_body = false;        // a body with at least one byte is announced, or one of unknown length
  bool body_too_large = false;  // read_all() failed because of its limit: answer 413
  RequestBody* body = nullptr;

  Result<std::size_t> read(std::span<std::byte> into) { return body ? body->read(into) : Result<std::size_t>(0); }
  // The rest of the body; invalid (and body_too_large set) where it is longer than `limit` bytes.
  Result<std::string> read_all(std::size_t limit = default_body_limit);
  // Fires when the client closes its connection (or its sending side) or the server shuts down. The first call starts
  // the watching, so handlers that are quick should not ask. A std::stop_callback on it runs on a thread that all
  // connections share: it must not block. Not to be used after a hijack.
  std::stop_token stop_token() { return body ? body->stop_token() : std::stop_token(); }
  // The protocol of the client's Upgrade header, empty where it did not ask.
  std::string_view upgrade() const;
};

// One of write_all, write_empty, begin_stream or hijack, once. Every call fails with `cancelled` when the client is
// gone. A handler that returns without having answered makes the server say 500.
class ResponseWriter {
 public:
  virtual ~ResponseWriter() = default;

  // Fields to be sent with the head, in addition to the ones the writer adds (Content-Length, Date, ...).
  Headers& headers() { return headers_; }
  // Once true, an error can only be told by cutting the stream: fail_stream().
  bool head_sent() const { return head_sent_; }
  int status() const { return status_; }

  // Head and body in one system call.
  virtual Result<> write_all(int status, std::string_view body, std::string_view content_type = "application/json") = 0;
  // 204, 304 and others without a body.
  virtual Result<> write_empty(int status) = 0;
  // The head is sent at once; the body follows in write() calls, each sent at once. The end is sent when the handler
  // returns.
  virtual Result<> begin_stream(int status, std::string_view content_type) = 0;
  // The same with a length known beforehand (files): exactly `length` bytes must follow.
  virtual Result<> begin_stream(int status, std::string_view content_type, std::uint64_t length) = 0;
  virtual Result<> write(std::string_view bytes) = 0;
  // `count` bytes of an open file from `offset` on; `invalid` where it has less.
  virtual Result<> write_file(int fd, std::uint64_t offset, std::uint64_t count);
  // The stream broke half way: the connection is cut so that the client cannot take what it has for the whole.
  virtual void fail_stream() = 0;
  // Sends "101 UPGRADED" where the client asked to upgrade, else "200 OK" without a length, and hands the connection
  // over.
  virtual Result<HijackedConnection> hijack(std::string_view content_type) = 0;
  // Answers a WebSocket handshake (RFC 6455) and hands over a socket: what is written there goes out as messages
  // (`text`: of that kind, else binary), the payload of the client's messages comes out of it. invalid: the request is
  // no such handshake.
  virtual Result<HijackedConnection> hijack_websocket(bool text) = 0;

 protected:
  Headers headers_;
  bool head_sent_ = false;
  int status_ = 0;
};

// Runs on the connection's thread. Exceptions that escape are logged and answered with 500.
using Handler = std::function<void(Request&, ResponseWriter&)>;

}  // namespace corten::http
