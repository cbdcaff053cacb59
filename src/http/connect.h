// Internal: makes a client's connection.
#pragma once

#include <memory>
#include <optional>

#include "http/client.h"
#include "http/stream.h"
#include "http/tls.h"

namespace corten::http {

Result<std::unique_ptr<Stream>> connect_to(const ClientOptions& options, const TlsContext* tls);
// False: the peer has closed the kept connection, or sent something nobody asked for.
bool is_still_usable(const Stream& stream);

}  // namespace corten::http
