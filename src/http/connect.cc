#include "http/connect.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <cerrno>

#include "http/head.h"
#include "http/socket_address.h"

namespace corten::http {
namespace {

std::unexpected<Error> connect_failure(int error, const std::string& where) {
  auto kind = ErrorKind::unavailable;
  if (error == EACCES || error == EPERM) kind = ErrorKind::forbidden;
  if (error == ENOENT) kind = ErrorKind::not_found;
  return std::unexpected(Error(kind, fmt::format("connect to {}: {}", where, errno_text(error)), error));
}

Result<UniqueFd> new_socket(int family) {
  UniqueFd fd(::socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd) return sys_fail("make a socket");
  return fd;
}

Result<UniqueFd> connect_unix(const std::string& path) {
  const auto address = TRY(unix_address(path));
  auto fd = TRY(new_socket(AF_UNIX));
  while (::connect(fd.get(), address.address.get(), address.address.length) != 0)
    if (errno != EINTR) return connect_failure(errno, path);
  return fd;
}

// A non-blocking connect, so that the deadline holds; the socket is in blocking mode afterwards.
Result<UniqueFd> connect_address(const SocketAddress& address, Deadline deadline, const std::stop_token& stop) {
  const auto where = format_address(address);
  UniqueFd fd(::socket(address.family(), SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return sys_fail("make a socket");
  const SocketCutter cutter(stop, fd.get());
  if (::connect(fd.get(), address.get(), address.length) != 0) {
    if (errno != EINPROGRESS) return connect_failure(errno, where);
    // A cut before connect() was no cut: there was nothing yet to shut down.
    if (stop.stop_requested()) return fail(ErrorKind::cancelled, "connect to {}: cancelled", where);
    if (TRY(wait_for(fd.get(), POLLOUT, deadline)) == 0)
      return fail(ErrorKind::deadline, "connect to {}: no answer", where);
    int error = 0;
    socklen_t length = sizeof error;
    ::getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &error, &length);
    if (error != 0) return connect_failure(error, where);
  }
  if (stop.stop_requested()) return fail(ErrorKind::cancelled, "connect to {}: cancelled", where);
  const int flags = ::fcntl(fd.get(), F_GETFL);
  ::fcntl(fd.get(), F_SETFL, flags & ~O_NONBLOCK);
  const int on = 1;
  ::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  ::setsockopt(fd.get(), SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
  return fd;
}

// `check` may be empty.
Result<UniqueFd> connect_tcp(const std::string& host, std::uint16_t port, Deadline deadline,
                             const std::function<Result<>(std::string_view)>& check, const std::stop_token& stop) {
  Result<UniqueFd> last = fail(ErrorKind::unavailable, "connect to {}: no address", host);
  for (const auto& address : TRY(resolve(host, port, false))) {
    if (check) {
      if (auto allowed = check(numeric_host(address)); !allowed) {
        last = std::unexpected(std::move(allowed).error().wrap(fmt::format("connect to {}", format_address(address))));
        continue;
      }
    }
    last = connect_address(address, deadline, stop);
    if (last || stop.stop_requested()) return last;
  }
  return last;
}

// RFC 9110 section 9.3.6: asks a proxy for a tunnel. The tunnel's first byte is ours to send, so nothing of it can be
// read by mistake along with the proxy's answer.
Result<UniqueFd> open_tunnel(UniqueFd fd, const ClientOptions& options, Deadline deadline) {
  const auto stream = make_plain_stream(std::move(fd));
  const auto target = fmt::format("{}:{}", options.host, options.port);
  auto head = fmt::format("CONNECT {} HTTP/1.1\r\nHost: {}\r\n", target, target);
  if (!options.proxy->authorization.empty()) head += "Proxy-Authorization: " + options.proxy->authorization + "\r\n";
  CHECK(write_text(*stream, {head, "\r\n"}, deadline));
  InputBuffer input;
  std::size_t scanned = 0;
  std::size_t length = 0;
  while ((length = head_length(input.view(), scanned)) == 0) {
    if (input.size() > options.max_head_size || TRY(fill(*stream, input, deadline)) == 0)
      return fail(ErrorKind::unavailable, "the proxy {} gave no answer to CONNECT", options.proxy->host);
  }
  const auto answer = TRY(parse_response_head(input.view().substr(0, length), true));
  if (answer.status / 100 != 2)
    return fail(ErrorKind::unavailable, "the proxy {} refused a tunnel to {}: {} {}", options.proxy->host, target,
                answer.status, reason_phrase(answer.status));
  return stream->take_fd();
}

}  // namespace

Result<std::unique_ptr<Stream>> connect_to(const ClientOptions& options, const TlsContext* tls,
                                           const std::stop_token& stop) {
  if (!options.unix_path.empty()) return make_plain_stream(TRY(connect_unix(options.unix_path)));
  const auto deadline = Deadline::after(options.connect_timeout);
  const auto& proxy = options.proxy;
  auto fd = proxy ? TRY_AS(connect_tcp(proxy->host, proxy->port, deadline, {}, stop), "reach the proxy")
                  : TRY(connect_tcp(options.host, options.port, deadline, options.check_address, stop));
  const SocketCutter cutter(stop, fd.get());
  if (!tls) return make_plain_stream(std::move(fd));
  if (proxy) fd = TRY(open_tunnel(std::move(fd), options, deadline));
  const auto& name = options.tls->server_name.empty() ? options.host : options.tls->server_name;
  return TRY_AS(TlsStream::connect(*tls, std::move(fd), name, options.tls->verify_server, deadline),
                fmt::format("connect to {}:{}", options.host, options.port));
}

SocketCutter::SocketCutter(const std::stop_token& stop, int fd)
    : fd_(stop.stop_possible() ? ::fcntl(fd, F_DUPFD_CLOEXEC, 0) : -1), callback_(stop, [raw = fd_.get()] {
        if (raw >= 0) ::shutdown(raw, SHUT_RDWR);
      }) {}

bool is_still_usable(const Stream& stream) {
  char byte = 0;
  return ::recv(stream.fd(), &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN;
}

}  // namespace corten::http
