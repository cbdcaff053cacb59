// The sockets that the API is served on.
#pragma once

#include <string>

#include "base/error.h"
#include "daemon/config.h"
#include "http/server.h"

namespace corten::daemon {

// `host` is one of the configuration's: unix:///PATH, tcp://ADDRESS:PORT or fd://. An error says what to do.
Result<> listen_on(http::Server& server, const std::string& host, const Config& config);

}  // namespace corten::daemon
