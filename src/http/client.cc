#include "http/client.h"

#include <algorithm>
#include <array>
#include <vector>

#include "base/mutex.h"
#include "http/body_reader.h"
#include "http/connect.h"
#include "http/exchange.h"
#include "http/relay.h"

namespace corten::http {
namespace {

constexpr std::size_t max_kept = 8;
constexpr std::size_t min_room = 4096;
constexpr std::uint64_t max_room = 1 << 20;

std::unexpected<Error> stopped() { return fail(ErrorKind::cancelled, "context canceled"); }

}  // namespace

struct Client::State {
  // Constant once the client is made.
  ClientOptions options;
  std::optional<TlsContext> tls;

  Mutex mutex;
  std::vector<std::unique_ptr<ClientConnection>> kept GUARDED_BY(mutex);

  std::unique_ptr<ClientConnection> take_kept() EXCLUDES(mutex) {
    for (;;) {
      std::unique_ptr<ClientConnection> connection;
      {
        const MutexLock lock(mutex);
        if (kept.empty()) return nullptr;
        connection = std::move(kept.back());
        kept.pop_back();
      }
      if (is_still_usable(*connection->stream)) return connection;
    }
  }
  void keep(std::unique_ptr<ClientConnection> connection) EXCLUDES(mutex) {
    const MutexLock lock(mutex);
    if (kept.size() < max_kept) kept.push_back(std::move(connection));
  }
};

struct ClientResponse::State {
  std::shared_ptr<Client::State> client;
  std::unique_ptr<ClientConnection> connection;
  ResponseHead head;
  bool reusable = false;
  std::optional<BodyReader> body;
  std::stop_token stop;
  std::optional<SocketCutter> cutter;  // until the connection is somebody else's
};

ClientResponse::ClientResponse(std::unique_ptr<State> state) : state_(std::move(state)) {}
ClientResponse::ClientResponse(ClientResponse&&) noexcept = default;

ClientResponse& ClientResponse::operator=(ClientResponse&& other) noexcept {
  std::swap(state_, other.state_);
  return *this;
}

ClientResponse::~ClientResponse() {
  if (!state_ || !state_->connection || !state_->reusable) return;
  state_->cutter.reset();
  if (state_->stop.stop_requested()) return;
  if (state_->body->at_end() && state_->connection->input.empty()) state_->client->keep(std::move(state_->connection));
}

int ClientResponse::status() const { return state_->head.status; }
const Headers& ClientResponse::headers() const { return state_->head.headers; }

std::optional<std::uint64_t> ClientResponse::content_length() const {
  switch (state_->head.framing) {
    case Framing::none:
    case Framing::length: return state_->head.length;
    default: return std::nullopt;
  }
}

Result<std::size_t> ClientResponse::read(std::span<std::byte> into) {
  if (!state_->connection) return fail(ErrorKind::invalid, "the connection was handed over");
  auto count = state_->body->read(into, Deadline::after(state_->client->options.idle_timeout));
  // A connection that was cut looks like the end of a body without a length.
  if ((!count || *count == 0) && state_->stop.stop_requested()) {
    state_->reusable = false;
    return stopped();
  }
  if (count) return count;
  state_->reusable = false;
  const auto kind = count.error().kind() == ErrorKind::deadline ? ErrorKind::deadline : ErrorKind::unavailable;
  return std::unexpected(std::move(count).error().as(kind));
}

Result<std::string> ClientResponse::read_all(std::size_t limit) {
  std::string text;
  std::size_t filled = 0;
  for (;;) {
    const auto left = state_->body->remaining();
    // What is announced is believed up to a bound.
    const auto room = left ? static_cast<std::size_t>(std::min(*left, max_room)) : std::max(filled, min_room);
    if (text.size() - filled < room) text.resize(filled + room);
    const std::size_t count = TRY(read(std::as_writable_bytes(std::span(text).subspan(filled))));
    if (count == 0) break;
    filled += count;
    if (filled > limit) return fail(ErrorKind::invalid, "the answer is larger than {} bytes", limit);
  }
  text.resize(filled);
  return text;
}

int ClientResponse::fd() const { return state_->connection ? state_->connection->stream->fd() : -1; }

bool ClientResponse::has_buffered() const {
  const auto& connection = state_->connection;
  return connection && (!connection->input.empty() || connection->stream->has_buffered());
}

Result<HijackedConnection> ClientResponse::hijack() {
  auto& connection = state_->connection;
  if (!connection) return fail(ErrorKind::invalid, "the connection was handed over");
  state_->cutter.reset();
  HijackedConnection result;
  result.already_read = connection->input.view();
  if (!connection->stream->is_tls()) {
    result.fd = connection->stream->take_fd();
  } else {
    result.is_tls = true;
    std::unique_ptr<TlsStream> stream(static_cast<TlsStream*>(connection->stream.release()));
    result.fd = TRY(relay_in_background(std::move(stream)));
  }
  connection.reset();
  return result;
}

Client::Client(std::shared_ptr<State> state) : state_(std::move(state)) {}
Client::~Client() = default;

Result<std::unique_ptr<Client>> Client::create(ClientOptions options) {
  auto state = std::make_shared<State>();
  if (options.unix_path.empty() && options.host.empty())
    return fail(ErrorKind::invalid, "a client needs a server's address");
  if (!options.unix_path.empty()) options.tls.reset();
  if (options.tls) state->tls = TRY(TlsContext::for_client(*options.tls));
  state->options = std::move(options);
  return std::unique_ptr<Client>(new Client(std::move(state)));
}

const ClientOptions& Client::options() const { return state_->options; }

Result<ClientResponse> Client::send(const ClientRequest& request) {
  auto connection = state_->take_kept();
  for (;;) {
    const bool kept = connection != nullptr;
    if (request.stop.stop_requested()) return stopped();
    if (!connection) {
      auto stream = connect_to(state_->options, state_->tls ? &*state_->tls : nullptr, request.stop);
      if (!stream && request.stop.stop_requested()) return stopped();
      connection = std::make_unique<ClientConnection>();
      connection->stream = TRY(std::move(stream));
    }
    auto state = std::make_unique<ClientResponse::State>();
    if (request.stop.stop_possible()) state->cutter.emplace(request.stop, connection->stream->fd());
    auto answer = exchange(*connection, request, state_->options);
    if (!answer) {
      if (request.stop.stop_requested()) return stopped();
      if (kept && answer.error().may_retry) {
        connection.reset();
        continue;
      }
      return std::unexpected(std::move(answer).error().error);
    }
    state->client = state_;
    state->stop = request.stop;
    state->head = std::move(answer->head);
    state->reusable = state->head.keep_alive && answer->request_complete && state->head.status != 101;
    state->body.emplace(*connection->stream, connection->input, state->head.framing, state->head.length);
    state->connection = std::move(connection);
    return ClientResponse(std::move(state));
  }
}

}  // namespace corten::http
