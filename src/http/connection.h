// Internal: one client's connection, from the accept to the close or hijack.
#pragma once

#include <memory>
#include <stop_token>

#include "http/body_reader.h"
#include "http/listener.h"
#include "http/poller.h"
#include "http/request.h"
#include "http/stream.h"
#include "http/websocket.h"

namespace corten::http {

class ServerCore;

class ServerConnection {
 public:
  ServerConnection(ServerCore& core, UniqueFd fd, std::shared_ptr<const Listener> listener);
  ~ServerConnection();
  ServerConnection(const ServerConnection&) = delete;
  ServerConnection& operator=(const ServerConnection&) = delete;

  // Serves requests until the connection is closed, handed over or idle; in the last case it is parked.
  static void run(std::unique_ptr<ServerConnection> self);

  // --- for ServerCore, from any thread, under its lock ---
  void cut() const;
  std::stop_source stop_source() const { return stop_; }
  int fd() const { return fd_; }
  void release_memory() { input_.release(); }

  // --- for the exchange that is going on ---
  ServerCore& core() { return core_; }
  Stream& stream() { return *stream_; }
  InputBuffer& input() { return input_; }
  // Starts watching for the client's leaving.
  std::stop_token watched_stop_token();
  // The connection is HTTP no more.
  Result<HijackedConnection> hand_over();
  // The same, with WebSocket messages on the client's side of what is handed over.
  Result<HijackedConnection> hand_over_websocket(WebSocketOpcode kind);

 private:
  enum class Next : unsigned char { request, close, park };
  // Makes the stream, with the TLS handshake where there is one.
  Result<> open();
  Next wait_for_request();
  // Reads and answers one request; true: the connection can carry another.
  bool serve_one();
  void refuse(int status, std::string_view message);
  // Closes so that the client can still read the answer: a close with unread bytes would reset the connection.
  void linger();
  void unwatch();

  ServerCore& core_;
  const std::shared_ptr<const Listener> listener_;
  const int fd_;  // stays valid until forget(), whoever owns it
  UniqueFd raw_;  // until open()
  std::unique_ptr<Stream> stream_;
  InputBuffer input_;
  Peer peer_;
  std::stop_source stop_;
  Poller::Id watch_ = 0;
};

}  // namespace corten::http
