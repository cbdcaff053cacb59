// The daemon's side of the shims. One ShimHub per daemon serves all containers with one reader thread and a few
// callback threads; one ShimClient stands for one running container.
//
// Every request has a deadline (HubOptions::request_timeout, longer for a start): a shim that does not answer costs its
// caller ErrorKind::deadline and nobody else anything. After a second without an answer the shim itself is looked at:
// one that has been stopped (SIGSTOP) costs no more than that. Once a shim is gone, requests fail with
// ErrorKind::unavailable.
//
//   hub.start(request, callbacks) ─► client ──► exec / attach / signal / resize …
//                                        └────► callbacks: on_exec_exit*, on_attach_closed*, then on_exit or on_lost,
//                                        once
//   daemon restarts:  hub.reconnect(run_dir, callbacks) ─► client as before; unavailable: no shim there, see
//   read_exit()
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/unique_fd.h"
#include "shimproto/types.h"

namespace corten::shimproto {

// Called without any lock held, one at a time per shim and in order, on the hub's callback threads. A callback may call
// any ShimClient method. on_exit comes after all output has been written to the log; the shim is told to go away when
// it returns. Exactly one of on_exit and on_lost is called, and nothing for that shim after it (late attach ends
// excepted).
struct ShimCallbacks {
  std::function<void(const ExitRecord&)> on_exit;
  std::function<void(const std::string& exec_id, const ExitRecord&)> on_exec_exit;
  std::function<void(std::uint64_t attach_id, AttachEnd)> on_attach_closed;
  // The shim died without an exit record. The container's first process is dying with it (PDEATHSIG); what is left in
  // the cgroup is for the engine to kill.
  std::function<void(const Error&)> on_lost;
};

class ShimClient {
 public:
  virtual ~ShimClient() = default;

  virtual const ShimState& state() const = 0;
  // Of the container's first process; owned by the client, -1 if it has exited before a reconnect.
  virtual int pidfd() const = 0;
  // Whether the shim itself is stopped by a signal, so that nothing can be heard from it until it is continued.
  virtual bool is_stopped() const = 0;

  virtual Result<Started> exec(const ExecRequest& request) = 0;
  virtual Result<AttachReply> attach(const AttachSpec& spec) = 0;
  virtual Result<> resume_attach(std::uint64_t attach_id) = 0;
  virtual Result<> detach(std::uint64_t attach_id) = 0;
  // exec_id "" is the container's first process in all of these. not_found: no such running exec.
  virtual Result<> resize(std::string_view exec_id, std::uint16_t rows, std::uint16_t columns) = 0;
  virtual Result<> signal(std::string_view exec_id, int signo) = 0;
  virtual Result<> close_stdin(std::string_view exec_id) = 0;
  // Opens the log files anew (an outside logrotate has moved them).
  virtual Result<> reopen_logs() = 0;
  virtual Result<ShimStatus> status() = 0;
};

struct HubOptions {
  std::string shim_path;  // of the corten-shim program
  // Shims started ahead of time, so that a start does not pay for fork and exec. They end with the daemon.
  unsigned pool_size = 2;
  std::chrono::milliseconds request_timeout{10'000};
  std::chrono::milliseconds start_timeout{60'000};
  unsigned callback_threads = 8;  // at most; started as needed
};

class ShimHub {
 public:
  // No shim is started before the first start() or warm_up().
  static Result<std::unique_ptr<ShimHub>> create(HubOptions options);
  virtual ~ShimHub() = default;  // disconnects; running shims go on

  // Fills the pool of waiting shims in the background.
  virtual void warm_up() = 0;
  // Runs the container's first process. The error is the runtime's own, with its kind.
  virtual Result<std::shared_ptr<ShimClient>> start(const StartRequest& request, ShimCallbacks callbacks) = 0;
  // Connects to the shim that serves `run_dir`. An exit that happened in the meantime comes through on_exit.
  // unavailable: there is no shim any more; deadline: it does not answer.
  virtual Result<std::shared_ptr<ShimClient>> reconnect(int run_dir, ShimCallbacks callbacks) = 0;
};

// What the shim has left in its run directory. not_found: never written. invalid: damaged.
Result<ShimState> read_state(int run_dir);
Result<ExitRecord> read_exit(int run_dir);

}  // namespace corten::shimproto
