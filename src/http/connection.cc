#include "http/connection.h"

#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <array>
#include <exception>

#include "http/head.h"
#include "http/relay.h"
#include "http/responder.h"
#include "http/server_core.h"
#include "http/socket_address.h"
#include "http/tls.h"

namespace corten::http {
namespace {

using namespace std::chrono_literals;

// How long a thread stays with a connection that has no request before it is given back.
constexpr auto patience = 1000ms;
constexpr auto refusal_timeout = 5000ms;
constexpr auto linger_timeout = 1000ms;
constexpr unsigned char tls_handshake_record = 22;

constexpr std::string_view plain_http_on_tls =
    "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";

// What is wrong with a head that has not even ended yet.
std::optional<HeadFailure> check_partial_head(std::string_view bytes, const ServerOptions& options) {
  const auto line_end = bytes.find('\n');
  const bool bare = line_end != std::string_view::npos && (line_end == 0 || bytes[line_end - 1] != '\r');
  if (bare) return HeadFailure{400, "malformed HTTP request: a line does not end in CR LF"};
  if (std::min(line_end, bytes.size()) > options.max_target_size + 64)
    return HeadFailure{414, fmt::format("the request target is longer than {} bytes", options.max_target_size)};
  if (bytes.size() > options.max_head_size)
    return HeadFailure{431, fmt::format("the request's head is longer than {} bytes", options.max_head_size)};
  return std::nullopt;
}

// The head, taken out of the buffer. No value and no failure (status 0): the client closed the connection.
std::expected<RequestHead, HeadFailure> read_head(Stream& stream, InputBuffer& input, const ServerOptions& options) {
  const auto deadline = Deadline::after(options.head_timeout);
  std::size_t scanned = 0;
  for (;;) {
    while (input.view().starts_with("\r\n")) input.consume(2);  // RFC 9112 section 2.2
    const auto length = head_length(input.view(), scanned);
    const auto bytes = input.view();
    if (auto failure = check_partial_head(length ? bytes.substr(0, length) : bytes, options))
      return std::unexpected(*std::move(failure));
    if (length > 0) {
      auto head = parse_request_head(bytes.substr(0, length), {options.max_target_size, options.max_header_fields});
      input.consume(length);
      return head;
    }
    const auto count = fill(stream, input, deadline);
    if (!count && count.error().kind() == ErrorKind::deadline)
      return std::unexpected(HeadFailure{408, "the request's head took too long to arrive"});
    if (!count || *count == 0) return std::unexpected(HeadFailure{0, ""});
  }
}

std::expected<Request, HeadFailure> make_request(const RequestHead& head, const Peer& peer) {
  Request request;
  auto path = percent_decode(head.raw_path);
  if (!path) return std::unexpected(HeadFailure{400, path.error().text()});
  auto query = Query::parse(head.raw_query);
  if (!query) return std::unexpected(HeadFailure{400, query.error().text()});
  request.method = head.method;
  request.raw_path = head.raw_path;
  request.path = *std::move(path);
  request.raw_query = head.raw_query;
  request.query = *std::move(query);
  request.headers = head.headers;
  request.version_minor = head.version_minor;
  request.peer = peer;
  if (head.framing == Framing::length) request.content_length = head.length;
  request.has_body = head.framing != Framing::none;
  return request;
}

Result<std::pair<UniqueFd, UniqueFd>> socket_pair() {
  std::array<int, 2> pair{};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair.data()) != 0) return sys_fail("make a socket pair");
  return std::pair(UniqueFd(pair[0]), UniqueFd(pair[1]));
}

void call_handler(const ServerCore& core, Request& request, ResponseWriter& writer) {
  std::string failure;
  try {
    core.handler(request, writer);
    return;
  } catch (const std::exception& exception) {
    failure = exception.what();
  } catch (...) {
    failure = "unknown exception";
  }
  core.report(fmt::format("handler of {} {} threw: {}", request.method, request.path, failure));
  if (writer.head_sent()) {
    writer.fail_stream();
  } else {
    writer.headers().clear();
    static_cast<void>(writer.write_all(500, error_body(failure)));
  }
}

}  // namespace

ServerConnection::ServerConnection(ServerCore& core, UniqueFd fd, std::shared_ptr<const Listener> listener)
    : core_(core), listener_(std::move(listener)), fd_(fd.get()), raw_(std::move(fd)) {}

ServerConnection::~ServerConnection() {
  unwatch();
  core_.forget(this);
}

void ServerConnection::run(std::unique_ptr<ServerConnection> self) {
  if (!self->stream_ && !self->open()) return;
  for (;;) {
    switch (self->wait_for_request()) {
      case Next::close: return;
      case Next::park: self->core_.park(std::move(self)); return;
      case Next::request: break;
    }
    if (!self->serve_one()) return;
  }
}

void ServerConnection::cut() const { ::shutdown(fd_, SHUT_RDWR); }

Result<> ServerConnection::open() {
  peer_ = describe_peer(fd_, listener_->transport());
  const auto* tls = listener_->tls();
  if (!tls) {
    stream_ = make_plain_stream(std::move(raw_));
    return {};
  }
  const auto deadline = Deadline::after(core_.options.head_timeout);
  if (TRY(wait_for(fd_, POLLIN, deadline)) == 0) return fail(ErrorKind::deadline, "no TLS handshake came");
  unsigned char first = 0;
  if (::recv(fd_, &first, 1, MSG_PEEK) == 1 && first != tls_handshake_record) {
    stream_ = make_plain_stream(std::move(raw_));
    CHECK(write_text(*stream_, {plain_http_on_tls}, Deadline::after(refusal_timeout)));
    linger();
    return fail(ErrorKind::invalid, "plain HTTP on a TLS port");
  }
  auto stream = TRY(TlsStream::accept(*tls, std::move(raw_), deadline));
  peer_.tls_subject = stream->peer_subject();
  stream_ = std::move(stream);
  return {};
}

ServerConnection::Next ServerConnection::wait_for_request() {
  if (!input_.empty() || stream_->has_buffered()) return core_.stopping() ? Next::close : Next::request;
  if (!core_.set_waiting(this, true)) return Next::close;
  const auto ready = wait_for(fd_, POLLIN, Deadline::after(patience));
  if (!core_.set_waiting(this, false) || !ready) return Next::close;
  return *ready == 0 ? Next::park : Next::request;
}

bool ServerConnection::serve_one() {
  auto head = read_head(*stream_, input_, core_.options);
  if (!head) {
    if (head.error().status != 0) refuse(head.error().status, head.error().message);
    return false;
  }
  auto request = make_request(*head, peer_);
  if (!request) {
    refuse(request.error().status, request.error().message);
    return false;
  }
  ConnectionBody body(*this, *head);
  Responder responder(*this, *head, body);
  request->body = &body;
  call_handler(core_, *request, responder);
  if (responder.finish()) return true;
  if (!responder.hijacked() && !body.at_end()) linger();
  return false;
}

void ServerConnection::refuse(int status, std::string_view message) {
  const auto body = error_body(message);
  const auto head = fmt::format(
      "HTTP/1.1 {} {}\r\nContent-Type: application/json\r\nDate: {}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
      status, reason_phrase(status), http_date(), body.size());
  if (write_text(*stream_, {head, body}, Deadline::after(refusal_timeout))) linger();
}

void ServerConnection::linger() {
  stream_->end_of_writing();
  ::shutdown(fd_, SHUT_WR);
  std::array<char, 32 << 10> scrap;
  const auto deadline = Deadline::after(linger_timeout);
  // Bounded by time, not by bytes: a client in the middle of a long upload writes many before it looks for an answer,
  // and would take its own failing write for one.
  while (deadline.poll_timeout() != 0) {
    const auto count = stream_->read_some(scrap, deadline);
    if (!count || *count == 0) return;
  }
}

std::stop_token ServerConnection::watched_stop_token() {
  if (watch_ == 0) {
    auto watch = core_.poller.add_once(fd_, EPOLLRDHUP, [stop = stop_]() mutable { stop.request_stop(); });
    if (watch) watch_ = *watch;
    if (core_.stopping()) stop_.request_stop();
  }
  return stop_.get_token();
}

void ServerConnection::unwatch() {
  if (watch_ != 0) core_.poller.remove(std::exchange(watch_, 0));
}

Result<HijackedConnection> ServerConnection::hand_over() {
  unwatch();
  HijackedConnection result;
  result.already_read = input_.view();
  input_.consume(input_.size());
  if (!stream_->is_tls()) {
    core_.forget(this);
    result.fd = stream_->take_fd();
    return result;
  }
  auto [ours, theirs] = TRY(socket_pair());
  std::unique_ptr<TlsStream> stream(static_cast<TlsStream*>(stream_.release()));
  core_.forget(this);
  const int fd = stream->fd();
  CHECK(core_.start_relay(
      fd, [remote = std::move(stream), end = std::move(ours)]() mutable { relay(*remote, std::move(end)); }));
  result.fd = std::move(theirs);
  result.is_tls = true;
  return result;
}

Result<HijackedConnection> ServerConnection::hand_over_websocket(WebSocketOpcode kind) {
  HijackedConnection client = TRY(hand_over());
  auto [ours, theirs] = TRY(socket_pair());
  const int fd = client.fd.get();
  CHECK(core_.start_relay(fd, [client = std::move(client), end = std::move(ours), kind]() mutable {
    relay_websocket(client.fd.get(), client.already_read, std::move(end), kind);
  }));
  return HijackedConnection{.fd = std::move(theirs)};
}

}  // namespace corten::http
