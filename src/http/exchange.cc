#include "http/exchange.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/sendfile.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>

namespace corten::http {
namespace {

constexpr std::size_t source_piece = 256 << 10;
constexpr std::size_t early_piece = 16 << 10;
// Between two reports of how far a file is.
constexpr std::uint64_t file_piece = 1 << 20;
// So much of an early answer is taken in while the request's body is still going out.
constexpr std::size_t max_early_answer = 4 << 20;

bool sends_body(const ClientRequest& request) {
  return request.body_source || request.body_file >= 0 || !request.body.empty();
}

void append_request_line(std::string& head, const ClientRequest& request, const ClientOptions& options) {
  head += request.method;
  head += ' ';
  if (options.proxy && !options.tls && options.unix_path.empty())
    head += "http://" + host_and_port(options.host, options.port, false);
  for (const char c : request.target) head += static_cast<unsigned char>(c) <= ' ' ? '+' : c;
  head += " HTTP/1.1\r\n";
}

std::string make_head(const ClientRequest& request, const ClientOptions& options) {
  std::string head;
  head.reserve(256);
  const auto field = [&head](std::string_view name, std::string_view value) {
    head += name;
    head += ": ";
    for (const char c : value) head += c == '\r' || c == '\n' || c == '\0' ? ' ' : c;
    head += "\r\n";
  };
  append_request_line(head, request, options);
  if (options.proxy && !options.tls && !options.proxy->authorization.empty())
    field("Proxy-Authorization", options.proxy->authorization);
  if (!request.headers.has("Host")) {
    if (!options.host_header.empty()) {
      field("Host", options.host_header);
    } else if (!options.unix_path.empty()) {
      field("Host", "localhost");
    } else {
      field("Host", host_and_port(options.host, options.port, options.tls.has_value()));
    }
  }
  if (!options.user_agent.empty() && !request.headers.has("User-Agent")) field("User-Agent", options.user_agent);
  for (const auto& [name, value] : request.headers) field(name, value);
  if (!request.upgrade.empty()) {
    field("Connection", "Upgrade");
    field("Upgrade", request.upgrade);
  }
  const bool streams = request.body_source || request.body_file >= 0;
  if (streams && !request.body_length) {
    field("Transfer-Encoding", "chunked");
  } else if (streams) {
    field("Content-Length", std::to_string(*request.body_length));
  } else if (!request.body.empty() || request.method == "POST" || request.method == "PUT" ||
             request.method == "PATCH") {
    field("Content-Length", std::to_string(request.body.size()));
  }
  head += "\r\n";
  return head;
}

// Sends while taking in what the server says meanwhile. False: the server has stopped reading; its answer may be in.
class BodySender {
 public:
  BodySender(ClientConnection& connection, const ClientOptions& options) : connection_(connection), options_(options) {}
  Result<bool> send(std::initializer_list<std::string_view> pieces);
  Result<bool> send_file(int file, std::uint64_t offset, std::uint64_t count);

 private:
  // Until the socket takes more. False: the server has stopped reading.
  Result<bool> wait_for_room();
  Result<bool> send_plain(std::span<iovec> pieces);
  // False: the server has ended its side.
  bool take_in_early_answer();

  ClientConnection& connection_;
  const ClientOptions& options_;
};

Result<bool> BodySender::send(std::initializer_list<std::string_view> pieces) {
  std::array<iovec, 4> vectors{};
  std::size_t count = 0;
  for (const auto piece : pieces)
    if (!piece.empty()) vectors.at(count++) = {const_cast<char*>(piece.data()), piece.size()};
  const auto used = std::span(vectors).first(count);
  if (!connection_.stream->is_tls()) return send_plain(used);
  auto sent = connection_.stream->write_all(used, Deadline::after(options_.idle_timeout));
  if (sent) return true;
  if (sent.error().kind() == ErrorKind::cancelled) return false;
  return std::unexpected(std::move(sent).error());
}

Result<bool> BodySender::send_plain(std::span<iovec> pieces) {
  const int fd = connection_.stream->fd();
  while (!pieces.empty()) {
    msghdr message{};
    message.msg_iov = pieces.data();
    message.msg_iovlen = pieces.size();
    const ssize_t count = ::sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (count >= 0) {
      pieces = advance(pieces, static_cast<std::size_t>(count));
      continue;
    }
    if (errno == EPIPE || errno == ECONNRESET) return false;
    if (errno == EINTR) continue;
    if (errno != EAGAIN) return sys_fail("send to the server");
    if (!TRY(wait_for_room())) return false;
  }
  return true;
}

Result<bool> BodySender::wait_for_room() {
  const bool listen = connection_.input.size() < max_early_answer;
  const short events = static_cast<short>(POLLOUT | (listen ? POLLIN : 0));
  const short ready = TRY(wait_for(connection_.stream->fd(), events, Deadline::after(options_.idle_timeout)));
  if (ready == 0) return fail(ErrorKind::deadline, "send to the server: it did nothing for too long");
  if ((ready & POLLIN) && !take_in_early_answer()) return false;
  return !(ready & (POLLHUP | POLLERR)) || (ready & POLLOUT) != 0;
}

// A socket's calls can be told not to block one by one, but sendfile cannot.
class NonBlocking {
 public:
  explicit NonBlocking(int fd) : fd_(fd), flags_(::fcntl(fd, F_GETFL)) { ::fcntl(fd_, F_SETFL, flags_ | O_NONBLOCK); }
  NonBlocking(const NonBlocking&) = delete;
  NonBlocking& operator=(const NonBlocking&) = delete;
  ~NonBlocking() { ::fcntl(fd_, F_SETFL, flags_); }

 private:
  int fd_, flags_;
};

// A socket's calls can be told not to raise SIGPIPE, but sendfile cannot: it waits, and is taken back if it is ours.
class NoPipeSignal {
 public:
  NoPipeSignal() {
    sigset_t pending;
    ::sigemptyset(&pipe_);
    ::sigaddset(&pipe_, SIGPIPE);
    ::sigpending(&pending);
    was_pending_ = ::sigismember(&pending, SIGPIPE) == 1;
    ::pthread_sigmask(SIG_BLOCK, &pipe_, &before_);
  }
  NoPipeSignal(const NoPipeSignal&) = delete;
  NoPipeSignal& operator=(const NoPipeSignal&) = delete;
  ~NoPipeSignal() {
    constexpr timespec now{};
    if (!was_pending_) ::sigtimedwait(&pipe_, nullptr, &now);
    ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }

 private:
  sigset_t pipe_{}, before_{};
  bool was_pending_ = false;
};

Result<bool> BodySender::send_file(int file, std::uint64_t offset, std::uint64_t count) {
  const int fd = connection_.stream->fd();
  const NonBlocking non_blocking(fd);
  const NoPipeSignal no_signal;
  auto at = static_cast<off64_t>(offset);
  while (count > 0) {
    const ssize_t sent = ::sendfile64(fd, file, &at, static_cast<std::size_t>(count));
    if (sent > 0) {
      count -= static_cast<std::uint64_t>(sent);
      continue;
    }
    if (sent == 0) return fail(ErrorKind::invalid, "the file to be sent ends {} bytes early", count);
    if (errno == EPIPE || errno == ECONNRESET) return false;
    if (errno == EINTR) continue;
    if (errno != EAGAIN) return sys_fail("send a file to the server");
    if (!TRY(wait_for_room())) return false;
  }
  return true;
}

bool BodySender::take_in_early_answer() {
  const auto room = connection_.input.prepare(early_piece);
  const ssize_t count = ::recv(connection_.stream->fd(), room.data(), room.size(), MSG_DONTWAIT);
  if (count > 0) connection_.input.commit(static_cast<std::size_t>(count));
  return count > 0 || (count < 0 && (errno == EAGAIN || errno == EINTR));
}

Result<bool> send_file_body(BodySender& sender, bool is_tls, const ClientRequest& request) {
  std::vector<std::byte> buffer(is_tls ? source_piece : 0);
  const std::uint64_t length = request.body_length.value_or(0);
  for (std::uint64_t sent = 0; sent < length;) {
    const std::uint64_t offset = request.body_offset + sent;
    auto count = std::min(length - sent, is_tls ? std::uint64_t{source_piece} : file_piece);
    if (is_tls) {
      const ssize_t got =
          ::pread64(request.body_file, buffer.data(), static_cast<std::size_t>(count), static_cast<off64_t>(offset));
      if (got < 0) return sys_fail("read what is to be sent");
      if (got == 0) return fail(ErrorKind::invalid, "the file to be sent ends {} bytes early", length - sent);
      count = static_cast<std::uint64_t>(got);
      if (!TRY(sender.send({{reinterpret_cast<const char*>(buffer.data()), static_cast<std::size_t>(count)}})))
        return false;
    } else if (!TRY(sender.send_file(request.body_file, offset, count))) {
      return false;
    }
    sent += count;
    if (request.body_progress) request.body_progress(sent);
  }
  return true;
}

// Head and body; false where the server did not want all of it.
Result<bool> send_request(ClientConnection& connection, const ClientRequest& request, const ClientOptions& options) {
  BodySender sender(connection, options);
  const auto head = make_head(request, options);
  const bool is_file = request.body_file >= 0;
  if (!request.body_source && !is_file) return sender.send({head, request.body});
  if (!TRY(sender.send({head}))) return false;
  if (is_file) return send_file_body(sender, connection.stream->is_tls(), request);
  std::vector<std::byte> piece(source_piece);
  std::uint64_t sent = 0;
  for (;;) {
    const std::size_t count = TRY_AS(request.body_source(piece), "read what is to be sent");
    if (count == 0) break;
    const std::string_view bytes(reinterpret_cast<const char*>(piece.data()), count);
    sent += count;
    if (request.body_length && sent > *request.body_length)
      return fail(ErrorKind::invalid, "what is to be sent is longer than the {} bytes announced", *request.body_length);
    const bool more = request.body_length ? TRY(sender.send({bytes}))
                                          : TRY(sender.send({fmt::format("{:x}\r\n", count), bytes, "\r\n"}));
    if (!more) return false;
  }
  if (request.body_length && sent < *request.body_length)
    return fail(ErrorKind::invalid, "what is to be sent ended after {} of {} bytes", sent, *request.body_length);
  return request.body_length ? true : TRY(sender.send({"0\r\n\r\n"}));
}

Result<ResponseHead> receive_head(ClientConnection& connection, const ClientRequest& request,
                                  const ClientOptions& options) {
  auto& input = connection.input;
  const bool to_head_request = request.method == "HEAD";
  const bool whole = request.head_timeout.count() > 0;
  const auto end = Deadline::after(request.head_timeout);
  for (;;) {
    std::size_t scanned = 0;
    std::size_t length = 0;
    while ((length = head_length(input.view(), scanned)) == 0) {
      if (input.size() > options.max_head_size)
        return fail(ErrorKind::unavailable, "the server's answer has a head of more than {} bytes",
                    options.max_head_size);
      if (TRY(fill(*connection.stream, input, whole ? end : Deadline::after(options.idle_timeout))) == 0)
        return fail(ErrorKind::unavailable, "the server closed the connection without an answer");
    }
    auto head = TRY(parse_response_head(input.view().substr(0, length), to_head_request));
    input.consume(length);
    if (head.status / 100 != 1 || head.status == 101) return head;
  }
}

}  // namespace

std::string host_and_port(const std::string& host, std::uint16_t port, bool tls) {
  const bool bare_ipv6 = host.contains(':') && !host.starts_with('[');
  const auto name = bare_ipv6 ? "[" + host + "]" : host;
  return port == (tls ? 443 : 80) ? name : fmt::format("{}:{}", name, port);
}

std::expected<Answer, ExchangeFailure> exchange(ClientConnection& connection, const ClientRequest& request,
                                                const ClientOptions& options) {
  const auto sent = send_request(connection, request, options);
  if (!sent) return std::unexpected(ExchangeFailure{sent.error(), false});
  auto head = receive_head(connection, request, options);
  if (!head) {
    const auto kind = head.error().kind() == ErrorKind::cancelled ? ErrorKind::unavailable : head.error().kind();
    const bool harmless = !*sent || (request.method != "POST" && request.method != "PATCH");
    const bool may_retry = harmless && !request.body_source && request.body_file < 0 && connection.input.empty() &&
                           kind == ErrorKind::unavailable;
    return std::unexpected(ExchangeFailure{std::move(head).error().as(kind), may_retry});
  }
  return Answer{*std::move(head), *sent || !sends_body(request)};
}

}  // namespace corten::http
