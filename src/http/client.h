// HTTP/1.1 client: blocking requests over a unix socket, TCP or TLS, with connections kept for the next request.
//
// Plain connections never touch OpenSSL. A request with a small body costs one write, a small answer one read.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>

#include "base/error.h"
#include "http/headers.h"
#include "http/hijack.h"
#include "http/tls_config.h"

namespace corten::http {

// TLS goes through the proxy by CONNECT; plain requests are sent to it with an absolute target.
struct ProxyConfig {
  std::string host;
  std::uint16_t port = 0;
  std::string authorization;  // value of Proxy-Authorization, none where empty
};

struct ClientOptions {
  std::string unix_path;  // non-empty: a unix socket, and host, port and tls are not used
  std::string host;
  std::uint16_t port = 0;
  std::optional<TlsClientConfig> tls;
  std::optional<ProxyConfig> proxy;
  std::string host_header;  // empty: host and (unless the usual one) port, or "localhost" for unix sockets
  std::string user_agent = "Corten";
  std::chrono::milliseconds connect_timeout{10'000};
  std::chrono::milliseconds idle_timeout{0};  // longest silence of the peer while we wait for it; 0: for ever
  std::size_t max_head_size = 256 << 10;
  // Asked before each connection with the numeric address ("10.0.0.7", "fe80::1"); an error refuses that address and
  // the next one of the host is tried. Not asked for unix sockets, nor where a proxy makes the connection.
  std::function<Result<>(std::string_view address)> check_address;
};

// Fills the span; 0 is the end of the body.
using BodySource = std::function<Result<std::size_t>(std::span<std::byte>)>;

struct ClientRequest {
  std::string method = "GET";
  std::string target = "/";  // path and query, already encoded
  Headers headers;
  std::string body;
  BodySource body_source;  // instead of `body`; chunked unless body_length is set
  std::optional<std::uint64_t> body_length;
  // From the request's last byte to the end of the answer's head, however the peer spreads it; in place of
  // idle_timeout there. 0: only idle_timeout holds.
  std::chrono::milliseconds head_timeout{0};
  // Instead of the two: `body_length` bytes of this open file (borrowed), from an offset. On a plain connection they go
  // from the file to the socket without passing through us.
  int body_file = -1;
  std::uint64_t body_offset = 0;
  std::function<void(std::uint64_t)> body_progress;  // bytes of body_file sent so far
  // When it fires, connecting, sending and reading the answer end at once with `cancelled`, whatever the peer does;
  // also later, as long as the answer is not read to its end.
  std::stop_token stop;
  // Sends "Connection: Upgrade" and "Upgrade: tcp"; see ClientResponse::hijack().
  std::string upgrade;  // "tcp" for Docker's streams, empty for an ordinary request
};

class ClientResponse {
 public:
  struct State;
  explicit ClientResponse(std::unique_ptr<State> state);
  ClientResponse(ClientResponse&&) noexcept;
  ClientResponse& operator=(ClientResponse&&) noexcept;
  // Gives the connection back for the next request if the body was read to its end, else closes it.
  ~ClientResponse();

  int status() const;
  const Headers& headers() const;
  // Announced length of the body, nullopt where unknown.
  std::optional<std::uint64_t> content_length() const;

  // 0 at the end. unavailable: the peer went away before the end; deadline: silence for longer than idle_timeout;
  // cancelled: the request's stop token fired.
  Result<std::size_t> read(std::span<std::byte> into);
  // What is left of the body; invalid where it is longer than `limit`.
  Result<std::string> read_all(std::size_t limit = 64 << 20);

  // To be polled for POLLIN along with others before read(). Bytes may already be buffered: check has_buffered() first.
  int fd() const;
  bool has_buffered() const;

  // Takes the connection out of HTTP after a 101 or a 200 answer to an attach or exec start. The body is not decoded.
  Result<HijackedConnection> hijack();

 private:
  std::unique_ptr<State> state_;
};

// Safe for several threads: each request takes a connection of its own.
class Client {
 public:
  // Reads certificates; does not connect.
  static Result<std::unique_ptr<Client>> create(ClientOptions options);
  ~Client();

  // Connects where no kept connection is at hand, sends, and returns when the answer's head is in. Answers of any
  // status are a success here. not_found, forbidden or unavailable: cannot connect. A kept connection that turns out to
  // be dead before the answer's first byte is replaced once, unless the body came from a body_source.
  Result<ClientResponse> send(const ClientRequest& request);
  const ClientOptions& options() const;

  struct State;

 private:
  explicit Client(std::shared_ptr<State> state);
  std::shared_ptr<State> state_;
};

}  // namespace corten::http
