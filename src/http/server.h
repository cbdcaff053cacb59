// HTTP/1.1 server (RFC 9112): a thread for each connection that has a request, blocking handlers, streaming bodies,
// hijack.
//
//   auto server = TRY(Server::create(options, handler));
//   CHECK(server->listen(UnixEndpoint{.path = "/run/corten.sock"}));
//   server->start();
//   ...
//   server->shutdown(10s);
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/unique_fd.h"
#include "http/request.h"
#include "http/tls_config.h"

namespace corten::http {

struct UnixEndpoint {
  std::string path;  // any length; a stale socket in the way is replaced, one that somebody serves is a conflict
  mode_t mode = 0660;
  std::optional<gid_t> group;
};

struct TcpEndpoint {
  std::string host;        // name or address, "" for all addresses
  std::uint16_t port = 0;  // 0: the kernel chooses; see Server::addresses()
  std::optional<TlsServerConfig> tls;
};

struct ServerOptions {
  std::size_t max_connections = 4096;  // over that, 503 and close
  std::size_t thread_stack_size = 256 << 10;
  std::size_t max_head_size = 64 << 10;             // request line and fields, else 431
  std::size_t max_target_size = 32 << 10;           // else 414
  std::size_t max_header_fields = 200;              // else 431
  std::chrono::milliseconds head_timeout{10'000};   // from a request's first byte to the end of its head
  std::chrono::milliseconds idle_timeout{300'000};  // between requests, and between bytes of a request body
  // Told what no client can be told, one line each: exceptions out of handlers, failures to accept. From any thread.
  std::function<void(std::string_view)> report;
  std::string server_name = "Corten";  // value of the Server field, none where empty
};

class Server {
 public:
  static Result<std::unique_ptr<Server>> create(ServerOptions options, Handler handler);
  // As shutdown(0s). If that leaves handlers running, their threads keep only the server's own state alive: whatever
  // the handler refers to must then outlive the process.
  ~Server();

  Result<> listen(const UnixEndpoint& endpoint);
  Result<> listen(const TcpEndpoint& endpoint);
  // A listening socket from the service manager (LISTEN_FDS).
  Result<> listen(UniqueFd listening);
  // What is listened on, as "unix:///run/x.sock" or "tcp://127.0.0.1:2375", in order of the listen() calls.
  std::vector<std::string> addresses() const;

  // Starts to accept, once. listen() may also be called later.
  Result<> start();
  // Stops accepting, fires every stop token, lets running handlers finish for at most `grace`, then cuts their
  // connections and waits one more second. deadline: handlers are still running; the process should _exit soon.
  Result<> shutdown(std::chrono::milliseconds grace);

  struct Statistics {
    std::size_t connections = 0;
    std::size_t threads = 0;
    std::size_t parked = 0;  // of the connections: idle, without a thread
    std::size_t relays = 0;  // TLS connections handed over
  };
  Statistics statistics() const;

 private:
  explicit Server(std::shared_ptr<class ServerCore> core);
  std::shared_ptr<class ServerCore> core_;
};

}  // namespace corten::http
