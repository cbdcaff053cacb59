// One container's shim, from its start message to its end.
//
//   waiting ── start ──► running ── first process ends ──► ending ── output delivered, daemon told ──► gone
//      └─ daemon closes: gone    └─ daemon closes: goes on, listens on shim.sock
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "shim/daemon_link.h"
#include "shim/launcher.h"
#include "shim/process_io.h"
#include "shim/run_dir.h"

namespace corten::shim {

class Shim {
 public:
  // `signals` delivers SIGCHLD, which the caller has blocked. `title` is the room in argv for the container's id.
  Shim(Loop& loop, Launcher& launcher, UniqueFd signals, std::span<char> title);
  ~Shim();

  // Talks to the daemon at the other end of `socket`; the loop ends when the shim's work is done.
  Result<> serve(UniqueFd socket);

 private:
  struct Process {
    std::string exec_id;  // empty: the container's first
    pid_t pid = 0;
    UniqueFd pidfd;
    std::unique_ptr<ProcessIo> io;
    std::optional<shimproto::ExitRecord> exit;
    bool drained = false;
  };
  class Caller final : public Handler {
   public:
    explicit Caller(std::function<void()> call) : call_(std::move(call)) {}
    void on_ready(std::uint32_t /*events*/) override { call_(); }

   private:
    std::function<void()> call_;
  };

  // shim_messages.cc: what the daemon asks for.
  void handle(DaemonLink& link, shimproto::Message message);
  void handle_start(DaemonLink& link, shimproto::Message message);
  void handle_hello(DaemonLink& link, const shimproto::Message& message);
  Result<shimproto::Started> exec(shimproto::Message message);
  Result<shimproto::AttachReply> attach(shimproto::Message message);
  Result<shimproto::Empty> with_client(const shimproto::Message& message, bool detach);
  Result<shimproto::Empty> resize(const shimproto::Message& message);
  Result<shimproto::Empty> signal(const shimproto::Message& message);
  Result<shimproto::Empty> close_stdin(const shimproto::Message& message);
  Result<shimproto::Empty> reopen_logs();
  shimproto::ShimStatus status() const;
  Result<Process*> find_process(const std::string& exec_id);

  // shim.cc: life and death.
  void add_link(UniqueFd socket);
  void link_closed(DaemonLink& link);
  void accept_daemon();
  Result<shimproto::StartReply> start(shimproto::StartMessage message, std::vector<UniqueFd> fds);
  Result<std::vector<std::uint64_t>> attach_first(ProcessIo& io, std::vector<shimproto::AttachSpec> specs,
                                                  std::vector<UniqueFd> fds);
  std::unique_ptr<ProcessIo> make_io(const IoConfig& config, LogSink* log);
  // Prepares by `prepare`, attaches, releases; the process runs, or nothing is left of it.
  template <class Prepare>
  Result<std::vector<std::uint64_t>> launch(Process& process, LaunchIo io, std::vector<shimproto::AttachSpec> specs,
                                            std::vector<UniqueFd> client_fds, const Prepare& prepare);
  void reap_children();
  void process_ended(Process& process, int wait_status);
  void exec_drained(const std::string& exec_id);
  void init_drained();
  void announce_exit();
  void sweep();
  void maybe_finish();
  void send_event(shimproto::MessageType type, std::string body);

  Loop& loop_;
  Launcher& launcher_;
  UniqueFd signals_;
  std::span<char> title_;
  ReadBuffer buffer_;
  Caller on_signal_;
  Caller on_accept_;

  std::vector<std::unique_ptr<DaemonLink>> links_;
  DaemonLink* active_ = nullptr;  // where events go
  UniqueFd listener_;
  std::vector<UniqueFd> early_fds_;  // of more_fds messages

  RunDir run_dir_;
  UniqueFd log_dir_;
  std::unique_ptr<LogSink> log_;
  shimproto::ShimState state_;
  IoConfig io_config_;
  bool started_ = false;
  Process init_;
  std::map<std::string, std::unique_ptr<Process>> execs_;
  std::vector<shimproto::ExecExitedEvent> recent_exec_exits_;  // told again to a daemon that reconnects
  std::uint64_t next_attach_id_ = 1;
  bool announced_ = false;  // the exit is on disk and was sent
  bool acknowledged_ = false;
  bool sweep_planned_ = false;
  bool log_wait_over_ = false;
};

// What a process that only waits does not need; it comes back on use.
void give_back_memory();

// The whole program: descriptor 3 is the daemon's socket. Returns the exit code.
int run_shim(Launcher& launcher, std::span<char> title);

}  // namespace corten::shim
