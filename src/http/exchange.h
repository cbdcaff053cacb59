// Internal: one request sent and its answer's head received, on the client's side of a connection.
#pragma once

#include <memory>

#include "http/client.h"
#include "http/head.h"
#include "http/stream.h"

namespace corten::http {

struct ClientConnection {
  std::unique_ptr<Stream> stream;
  InputBuffer input;
};

struct Answer {
  ResponseHead head;
  bool request_complete =
      true;  // false: the server answered before it had read the body; do not use the connection again
};

struct ExchangeFailure {
  Error error;
  // A kept connection was stale: not one byte of an answer came, and the request can do no harm when it is sent again.
  bool may_retry = false;
};

// "host:port", without the port where it is the scheme's own: for Host fields and absolute targets.
std::string host_and_port(const std::string& host, std::uint16_t port, bool tls);

// Interim answers (100 Continue) are skipped, 101 is final. While a body is being sent, an answer that comes early is
// taken in, so that a server that writes while it reads does not block both sides.
std::expected<Answer, ExchangeFailure> exchange(ClientConnection& connection, const ClientRequest& request,
                                                const ClientOptions& options);

}  // namespace corten::http
