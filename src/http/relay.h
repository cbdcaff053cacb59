// Internal: joins a TLS connection to a plain local socket until both directions have ended.
#pragma once

#include <memory>

#include "base/error.h"
#include "base/unique_fd.h"
#include "http/tls.h"

namespace corten::http {

// Blocks. The end of one direction is passed on (close_notify and FIN, or SHUT_WR) while the other goes on. Returns
// when both have ended or one side broke.
void relay(TlsStream& remote, UniqueFd local);

// The same on a detached thread of its own (a client's); yields the other end of the local socket.
Result<UniqueFd> relay_in_background(std::unique_ptr<TlsStream> remote);

}  // namespace corten::http
