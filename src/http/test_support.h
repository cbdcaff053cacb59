// For http's own tests: a server on a scratch socket and a bare client that says exactly what it is told.
#pragma once

#include <gtest/gtest.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <string_view>

#include "http/client.h"
#include "http/server.h"
#include "http/socket_address.h"

namespace corten::http::test {

class ScratchDirectory {
 public:
  ScratchDirectory() {
    std::string pattern = "/tmp/corten-http-test-XXXXXX";
    path_ = ::mkdtemp(pattern.data());
  }
  ~ScratchDirectory() { std::filesystem::remove_all(path_); }
  ScratchDirectory(const ScratchDirectory&) = delete;
  ScratchDirectory& operator=(const ScratchDirectory&) = delete;
  std::string file(std::string_view name) const { return path_ + "/" + std::string(name); }

 private:
  std::string path_;
};

inline void wait_readable(int fd) {
  pollfd entry{fd, POLLIN, 0};
  ASSERT_EQ(::poll(&entry, 1, 10'000), 1) << "nothing came within 10 seconds";
}

// Reads until the peer ends, at most 10 seconds at a time.
inline std::string read_to_end(int fd) {
  std::string text;
  char piece[4096];
  for (;;) {
    pollfd entry{fd, POLLIN, 0};
    if (::poll(&entry, 1, 10'000) != 1) {
      ADD_FAILURE() << "the peer did not end within 10 seconds; so far: " << text;
      return text;
    }
    const ssize_t count = ::recv(fd, piece, sizeof piece, 0);
    if (count <= 0) return text;
    text.append(piece, static_cast<std::size_t>(count));
  }
}

// Reads until `text` is the end of what was read.
inline std::string read_until(int fd, std::string_view end) {
  std::string text;
  while (!text.ends_with(end)) {
    pollfd entry{fd, POLLIN, 0};
    if (::poll(&entry, 1, 10'000) != 1) {
      ADD_FAILURE() << "did not get \"" << end << "\"; so far: " << text;
      return text;
    }
    char byte = 0;
    if (::recv(fd, &byte, 1, 0) != 1) {
      ADD_FAILURE() << "the peer ended before \"" << end << "\"; so far: " << text;
      return text;
    }
    text += byte;
  }
  return text;
}

inline void send_text(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t count = ::send(fd, text.data(), text.size(), MSG_NOSIGNAL);
    if (count <= 0) return;
    text.remove_prefix(static_cast<std::size_t>(count));
  }
}

inline UniqueFd connect_unix(const std::string& path) {
  auto address = unix_address(path);
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  EXPECT_EQ(::connect(fd.get(), address->address.get(), address->address.length), 0) << path;
  return fd;
}

inline UniqueFd connect_tcp(std::uint16_t port) {
  auto address = resolve("127.0.0.1", port, false);
  UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  EXPECT_EQ(::connect(fd.get(), address->front().get(), address->front().length), 0);
  return fd;
}

class TestServer {
 public:
  explicit TestServer(Handler handler, ServerOptions options = {}) {
    server_ = *Server::create(std::move(options), std::move(handler));
    EXPECT_TRUE(server_->listen(UnixEndpoint{.path = path()}));
    EXPECT_TRUE(server_->start());
  }
  std::string path() const { return directory_.file("s.sock"); }
  UniqueFd connect() const { return connect_unix(path()); }
  // One connection, `bytes` sent, all that comes back until the server closes.
  std::string talk(std::string_view bytes) const {
    const auto fd = connect();
    send_text(fd.get(), bytes);
    return read_to_end(fd.get());
  }
  std::unique_ptr<Client> client() const { return *Client::create({.unix_path = path()}); }
  std::uint16_t listen_tcp(std::optional<TlsServerConfig> tls = {}) {
    const auto listening = server_->listen(TcpEndpoint{.host = "127.0.0.1", .port = 0, .tls = std::move(tls)});
    EXPECT_TRUE(listening) << listening.error().text();
    const auto address = server_->addresses().back();
    return static_cast<std::uint16_t>(std::stoi(address.substr(address.rfind(':') + 1)));
  }
  Server& server() { return *server_; }

 private:
  ScratchDirectory directory_;
  std::unique_ptr<Server> server_;
};

inline ClientRequest get(std::string target) {
  ClientRequest request;
  request.target = std::move(target);
  return request;
}

inline ClientRequest post(std::string target, std::string body) {
  ClientRequest request;
  request.method = "POST";
  request.target = std::move(target);
  request.body = std::move(body);
  return request;
}

}  // namespace corten::http::test
