// For clients that would lose the beginning of a stream which arrives together with the answer's head.
#pragma once

#include "http/request.h"

namespace corten::server {

// Docker's library for Python reads the head through a buffer and the stream past it: what else came with the head is
// lost in the buffer. Under TLS the head is a record of its own, and such a client reads it alone.
bool loses_early_output(const http::Request& request);

// Returns when the peer has read what was sent so far, as far as the kernel can tell, but after half a second in any
// case: a client that waits for output reads the head at once, and nobody else waits here.
void wait_until_head_is_read(int socket, http::Transport transport);

}  // namespace corten::server
