// One attached reader (and perhaps writer) of a process's streams.
#pragma once

#include <memory>
#include <string>

#include "base/unique_fd.h"
#include "shim/detach_scanner.h"
#include "shim/loop.h"
#include "shim/outbox.h"
#include "shimproto/types.h"

namespace corten::shim {

enum class Stream : std::uint8_t { out = 1, err = 2 };

class Client;

// The process whose streams a client reads and writes.
class ClientOwner {
 public:
  virtual ~ClientOwner() = default;
  // How much standard input can be taken now; 0 makes the client wait for Client::resume_input.
  virtual std::size_t input_room() const = 0;
  virtual void input(std::string_view bytes) = 0;
  // The client's side of standard input has ended. False: the client is to be closed, as nothing more comes of it.
  virtual bool input_ended() = 0;
  // Called once; the client is deleted at the end of the loop's round.
  virtual void client_closed(Client& client, shimproto::AttachEnd end) = 0;
  // The client has nothing left to do and can be deleted.
  virtual void client_gone(Client& client) = 0;
};

class Client final : public Handler {
 public:
  Client(Loop& loop, ClientOwner& owner, std::uint64_t id, shimproto::AttachSpec spec, UniqueFd fd, Outbox outbox);
  ~Client() override;

  std::uint64_t id() const { return id_; }
  Result<> start();
  void deliver(Stream stream, std::string_view bytes);
  // No more output will come: closed when what is there has been taken.
  void finish();
  void close(shimproto::AttachEnd end);
  void resume();
  void resume_input();
  bool closed() const { return closed_; }
  bool paused() const { return paused_; }

  void on_ready(std::uint32_t events) override;

 private:
  void update_watch();
  void read_input();
  void take_input(std::string_view bytes);
  void send_waiting();
  // Bytes taken by the descriptor now; -1: gone.
  ssize_t send_now(std::string_view head, std::string_view bytes);
  void keep(std::string_view head, std::string_view bytes, std::size_t sent);
  void linger();

  Loop& loop_;
  ClientOwner& owner_;
  const std::uint64_t id_;
  const shimproto::AttachSpec spec_;
  UniqueFd fd_;
  Outbox outbox_;
  DetachScanner scanner_;
  Loop::TimerId timer_ = 0;
  bool socket_ = false;
  bool pollable_ = true;
  bool paused_ = false;
  bool reading_ = false;     // wants more standard input
  bool input_full_ = false;  // waits for resume_input
  bool finishing_ = false;
  bool closed_ = false;     // reported; only lingers
  std::string held_input_;  // already_read that the process has no room for yet
};

}  // namespace corten::shim
