// Internal: makes a client's connection.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <stop_token>

#include "base/unique_fd.h"
#include "http/client.h"
#include "http/stream.h"
#include "http/tls.h"

namespace corten::http {

// Ends early when `stop` fires, but for the name's resolution.
Result<std::unique_ptr<Stream>> connect_to(const ClientOptions& options, const TlsContext* tls,
                                           const std::stop_token& stop = {});
// While it lives, a stop request ends all reading and writing on the socket: the peer seems to have gone.
class SocketCutter {
 public:
  SocketCutter(const std::stop_token& stop, int fd);

 private:
  UniqueFd fd_;  // of our own, as the stream may close its descriptor at any moment
  std::stop_callback<std::function<void()>> callback_;
};
// False: the peer has closed the kept connection, or sent something nobody asked for.
bool is_still_usable(const Stream& stream);

}  // namespace corten::http
