// A connection to a daemon: the one the shim was started with, or one made over shim.sock.
#pragma once

#include <deque>
#include <functional>
#include <span>

#include "shim/loop.h"
#include "shimproto/messages.h"

namespace corten::shim {

class DaemonLink final : public Handler {
 public:
  struct Calls {
    std::function<void(DaemonLink&, shimproto::Message)> message;
    std::function<void(DaemonLink&)> closed;  // called once; the owner deletes the link at the end of the loop's round
  };
  DaemonLink(Loop& loop, UniqueFd socket, Calls calls)
      : loop_(loop), socket_(std::move(socket)), calls_(std::move(calls)) {}
  ~DaemonLink() override { loop_.unwatch(socket_.get()); }

  Result<> start();
  // Never waits: what the daemon does not take now is sent later, in order.
  void send(shimproto::MessageType type, std::uint32_t id, std::string body, std::span<const int> fds = {});
  void close();
  bool closed() const { return closed_; }
  void on_ready(std::uint32_t events) override;

 private:
  struct Waiting {
    shimproto::MessageType type;
    std::uint32_t id;
    std::string body;
    std::vector<UniqueFd> fds;
  };
  void send_waiting();

  Loop& loop_;
  UniqueFd socket_;
  const Calls calls_;
  std::deque<Waiting> waiting_;
  bool closed_ = false;
};

}  // namespace corten::shim
