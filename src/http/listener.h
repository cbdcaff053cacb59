// Internal: listening sockets.
#pragma once

#include <sys/stat.h>

#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/unique_fd.h"
#include "http/server.h"
#include "http/tls.h"

namespace corten::http {

class Listener {
 public:
  static Result<Listener> on_unix(const UnixEndpoint& endpoint);
  // One for each address of the host.
  static Result<std::vector<Listener>> on_tcp(const TcpEndpoint& endpoint);
  static Result<Listener> adopt(UniqueFd listening);
  Listener(Listener&&) noexcept = default;
  Listener& operator=(Listener&&) noexcept = default;
  ~Listener() { close(); }

  int fd() const { return fd_.get(); }
  // "unix:///run/x.sock" or "tcp://127.0.0.1:2375".
  const std::string& address() const { return address_; }
  Transport transport() const { return transport_; }
  const TlsContext* tls() const { return tls_ ? &*tls_ : nullptr; }
  // Stops listening and removes the socket's file if it is still ours.
  void close();

 private:
  Listener() = default;
  UniqueFd fd_;
  std::string address_;
  Transport transport_ = Transport::unix_socket;
  std::optional<TlsContext> tls_;
  std::string unlink_path_;
  dev_t device_ = 0;
  ino_t inode_ = 0;
};

}  // namespace corten::http
