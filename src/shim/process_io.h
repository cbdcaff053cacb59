// The streams of one process (the container's first, or an exec'd one): output to the log and to every client, input
// from the clients.
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "shim/client.h"
#include "shim/input_pipe.h"
#include "shim/log_sink.h"

namespace corten::shim {

// Space for one read, shared by all streams.
class ReadBuffer {
 public:
  std::span<char> bytes() { return bytes_; }
  // Gives the pages back to the kernel.
  void release();

 private:
  alignas(4096) std::array<char, 64U << 10> bytes_;
};

struct IoConfig {
  bool tty = false;
  bool stdin_open = false;
  // An attached client's end of standard input is the process's (exec, StdinOnce), but never on a terminal.
  bool close_stdin_with_client = false;
  std::uint64_t reader_limit = 64U << 20;
  int spill_directory = -1;
};

class ProcessIo final : private ClientOwner {
 public:
  struct Calls {
    std::function<void(std::uint64_t attach_id, shimproto::AttachEnd)> attach_closed;
    // A client that was closed has been let go of.
    std::function<void()> client_gone;
  };

  ProcessIo(Loop& loop, ReadBuffer& buffer, IoConfig config, LogSink* log, Calls calls)
      : loop_(loop), buffer_(buffer), config_(config), log_(log), calls_(std::move(calls)) {}
  ~ProcessIo() override;

  // Without a terminal: the child's ends, for descriptors 0, 1 and 2; an empty one stands for /dev/null.
  Result<std::array<UniqueFd, 3>> make_pipes();
  // With a terminal: its master.
  Result<> use_console(UniqueFd master);
  // From now on output is copied.
  Result<> run();

  Result<> attach(std::uint64_t id, shimproto::AttachSpec spec, UniqueFd fd);
  Client* find_client(std::uint64_t id);
  Result<> resize(std::uint16_t rows, std::uint16_t columns);
  void close_stdin();
  // Nobody will resume them any more.
  void close_paused_clients();

  // The process has ended: `drained` is called when all its output has been handed on (soon, or after two seconds if
  // others hold its pipes), and its clients are then on their way out.
  void process_ended(std::function<void()> drained);
  bool has_clients() const { return !clients_.empty(); }

 private:
  class Source final : public Handler {
   public:
    Source(ProcessIo& io, UniqueFd read_end, Stream kind) : owner(io), fd(std::move(read_end)), stream(kind) {}
    void on_ready(std::uint32_t events) override;
    ProcessIo& owner;
    UniqueFd fd;
    Stream stream;
  };
  enum class ReadEnd : std::uint8_t { more, empty, end };

  std::size_t input_room() const override { return input_ ? input_->room() : InputPipe::limit; }
  void input(std::string_view bytes) override;
  bool input_ended() override;
  void client_closed(Client& client, shimproto::AttachEnd end) override;
  void client_gone(Client& client) override;

  ReadEnd read_once(Source& source);
  void close_source(Source& source);
  bool sources_open() const;
  void read_remaining();
  void finish_output();
  void resume_inputs();

  Loop& loop_;
  ReadBuffer& buffer_;
  const IoConfig config_;
  LogSink* const log_;
  const Calls calls_;
  std::array<std::unique_ptr<Source>, 2> sources_;
  std::unique_ptr<InputPipe> input_;
  UniqueFd console_;
  UniqueFd held_slave_;
  std::vector<std::unique_ptr<Client>> clients_;
  std::function<void()> drained_;
  Loop::TimerId drain_timer_ = 0;
  bool finished_ = false;
};

}  // namespace corten::shim
