// A connection that has stopped being HTTP: a plain descriptor that belongs to the caller alone.
#pragma once

#include <string>

#include "base/unique_fd.h"

namespace corten::http {

struct HijackedConnection {
  // Blocking mode, no timeouts set. May be passed to another process. For TLS it is one end of a socket pair whose
  // other end a relay thread connects to the peer, half-closes in both directions included.
  UniqueFd fd;
  // What the peer had sent behind its head; the caller must treat it as read from fd first.
  std::string already_read;
  bool is_tls = false;
};

}  // namespace corten::http
