// One TCP connection through the relay: bytes both ways, half-close passed on, bounded buffers. Internal to relay.cc.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "base/unique_fd.h"

namespace corten::network {

class RelayFlow {
 public:
  enum Side : int { client = 0, container = 1 };

  // `client_fd` is connected; `container_fd` may still be connecting. Both non-blocking.
  RelayFlow(UniqueFd client_fd, UniqueFd container_fd);

  int fd(Side side) const { return ends_[side].fd.get(); }
  // The epoll events to wait for now on that side. With 0 it must not be watched at all: a hang-up would be told over
  // and over while the other side is slow.
  std::uint32_t interest(Side side) const;
  // Does what `events` allow. False when the flow is over. `scratch` is any buffer.
  bool handle(Side side, std::uint32_t events, std::span<char> scratch);

 private:
  struct End {
    UniqueFd fd;
    std::string out;  // read from the other end, not yet accepted by this one
    bool connected = false;
    bool read_closed = false;   // no more comes from here
    bool write_closed = false;  // and the other end's end was passed on to here
  };

  bool finish_connect(End& end);
  bool flush(End& end);
  bool read_some(End& from, End& to, std::span<char> scratch);
  void pass_on_close(End& from, End& to);

  End ends_[2];
};

}  // namespace corten::network
