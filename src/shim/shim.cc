#include "shim/shim.h"

#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>

#include "sys/events.h"
#include "sys/files.h"

// The linker's marks around the program's constant part.
extern "C" const char __executable_start;  // NOLINT
extern "C" const char etext;               // NOLINT

namespace corten::shim {
namespace {

using shimproto::ExitRecord;
using shimproto::MessageType;

constexpr int daemon_socket = 3;
constexpr std::size_t max_links = 8;
constexpr std::size_t kept_exec_exits = 64;
// After the first process: how long exec'd ones may take to die and be drained before the exit is announced without
// them.
constexpr std::chrono::milliseconds exec_end_time{2500};
constexpr std::chrono::milliseconds log_poll_time{100};
constexpr std::chrono::milliseconds log_end_time{5000};

// /proc/PID/stat field 22, counted from behind the command's name, which may hold anything.
std::uint64_t start_ticks_of(pid_t pid) {
  const auto text = sys::read_file(fmt::format("/proc/{}/stat", pid), 4096);
  if (!text) return 0;
  std::size_t at = text->rfind(')');
  for (int field = 2; field < 22 && at != std::string::npos; ++field) at = text->find(' ', at + 1);
  if (at == std::string::npos) return 0;
  std::uint64_t ticks = 0;
  std::from_chars(text->data() + at + 1, text->data() + text->size(), ticks);
  return ticks;
}

// Starting a container has touched most of the program once, waiting needs a few pages of it: the others are unmapped,
// and come back from the page cache when they are used.
void unmap_program() {
  const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto begin = (reinterpret_cast<std::uintptr_t>(&__executable_start) + page - 1) & ~(page - 1);
  const auto end = reinterpret_cast<std::uintptr_t>(&etext) & ~(page - 1);
  if (begin < end) ::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
}

ExitRecord make_exit(int wait_status, bool oom) {
  ExitRecord exit;
  if (WIFSIGNALED(wait_status)) {
    exit.signal = WTERMSIG(wait_status);
    exit.code = 128 + exit.signal;
  } else {
    exit.code = WEXITSTATUS(wait_status);
  }
  exit.oom = oom;
  exit.finished = now();
  return exit;
}

}  // namespace

Shim::Shim(Loop& loop, Launcher& launcher, UniqueFd signals, std::span<char> title)
    : loop_(loop),
      launcher_(launcher),
      signals_(std::move(signals)),
      title_(title),
      on_signal_([this] { reap_children(); }),
      on_accept_([this] { accept_daemon(); }) {
  loop_.set_idle_call([this] {
    buffer_.release();
    if (log_) log_->shrink();
    give_back_memory();
  });
}

Shim::~Shim() {
  loop_.unwatch(signals_.get());
  loop_.unwatch(listener_.get());
}

Result<> Shim::serve(UniqueFd socket) {
  CHECK(loop_.watch(signals_.get(), EPOLLIN, on_signal_));
  add_link(std::move(socket));
  active_ = links_.front().get();
  loop_.run();
  return {};
}

void Shim::add_link(UniqueFd socket) {
  DaemonLink::Calls calls{[this](DaemonLink& link, shimproto::Message message) { handle(link, std::move(message)); },
                          [this](DaemonLink& link) { link_closed(link); }};
  links_.push_back(std::make_unique<DaemonLink>(loop_, std::move(socket), std::move(calls)));
  if (!links_.back()->start()) links_.back()->close();
}

void Shim::link_closed(DaemonLink& link) {
  if (active_ == &link) {
    active_ = nullptr;
    if (init_.io) init_.io->close_paused_clients();
  }
  loop_.defer([this, gone = &link] {
    std::erase_if(links_, [gone](const auto& own) { return own.get() == gone; });
    if (!started_) return loop_.stop();  // nobody will send a start message any more
    maybe_finish();
  });
}

void Shim::accept_daemon() {
  UniqueFd socket(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!socket) return;
  ucred peer{};
  socklen_t size = sizeof peer;
  if (::getsockopt(socket.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0 || peer.uid != ::geteuid()) return;
  // Whoever connected longest ago and is not the daemon we serve makes room.
  if (links_.size() >= max_links)
    for (auto& link : links_)
      if (link.get() != active_ && !link->closed()) {
        link->close();
        break;
      }
  add_link(std::move(socket));
}

std::unique_ptr<ProcessIo> Shim::make_io(const IoConfig& config, LogSink* log) {
  ProcessIo::Calls calls;
  calls.attach_closed = [this](std::uint64_t attach_id, shimproto::AttachEnd end) {
    send_event(MessageType::attach_closed, shimproto::encode(shimproto::AttachClosedEvent{attach_id, end}));
  };
  calls.client_gone = [this] { sweep(); };
  return std::make_unique<ProcessIo>(loop_, buffer_, config, log, std::move(calls));
}

Result<std::vector<std::uint64_t>> Shim::attach_first(ProcessIo& io, std::vector<shimproto::AttachSpec> specs,
                                                      std::vector<UniqueFd> fds) {
  std::vector<std::uint64_t> ids;
  for (std::size_t i = 0; i < specs.size(); ++i) {
    ids.push_back(next_attach_id_++);
    CHECK(io.attach(ids.back(), std::move(specs[i]), std::move(fds[i])));
  }
  return ids;
}

template <class Prepare>
Result<std::vector<std::uint64_t>> Shim::launch(Process& process, LaunchIo io, std::vector<shimproto::AttachSpec> specs,
                                                std::vector<UniqueFd> client_fds, const Prepare& prepare) {
  const auto run = [&]() -> Result<std::vector<std::uint64_t>> {
    if (!io.tty) io.child_ends = TRY(process.io->make_pipes());
    const bool tty = io.tty;
    auto prepared = TRY(prepare(std::move(io)));
    if (tty) CHECK(process.io->use_console(std::move(prepared.console)));
    auto ids = TRY(attach_first(*process.io, std::move(specs), std::move(client_fds)));
    CHECK(launcher_.release(prepared));
    process.pid = prepared.child.pid();
    process.pidfd = prepared.child.release();
    CHECK(process.io->run());
    return ids;
  };
  auto ids = run();
  // A client may have left a call to itself for the end of the round: the streams must last until then.
  if (!ids) loop_.defer([gone = std::shared_ptr<ProcessIo>(std::move(process.io))] {});
  return ids;
}

Result<shimproto::StartReply> Shim::start(shimproto::StartMessage message, std::vector<UniqueFd> fds) {
  auto& request = message.request;
  const std::size_t client_count = request.attaches.size();
  const std::size_t fixed = 1 + (message.has_log_dir ? 1U : 0U) + client_count;
  if (fds.size() != fixed + message.plan_fd_count)
    return fail(ErrorKind::invalid, "start message with {} descriptors instead of {}", fds.size(),
                fixed + message.plan_fd_count);
  std::vector<UniqueFd> plan_fds(std::make_move_iterator(fds.begin() + static_cast<std::ptrdiff_t>(fixed)),
                                 std::make_move_iterator(fds.end()));
  std::vector<UniqueFd> client_fds(
      std::make_move_iterator(fds.begin() + static_cast<std::ptrdiff_t>(fixed - client_count)),
      std::make_move_iterator(fds.begin() + static_cast<std::ptrdiff_t>(fixed)));
  run_dir_ = RunDir(std::move(fds[0]));
  if (message.has_log_dir) log_dir_ = std::move(fds[1]);
  started_ = true;
  const std::size_t title_length = std::min(title_.size(), request.container_id.size());
  std::memcpy(title_.data(), request.container_id.data(), title_length);

  log_ = TRY_AS(make_log_sink(loop_, request.log, request.container_id, log_dir_.get()), "open the container's log");
  run_dir_.forget_exit();
  listener_ = TRY(run_dir_.listen());
  CHECK(loop_.watch(listener_.get(), EPOLLIN, on_accept_));

  io_config_ = {request.tty, request.stdin_open, request.stdin_once, request.reader_limit,
                log_dir_ ? log_dir_.get() : run_dir_.fd()};
  init_.io = make_io(io_config_, log_.get());
  shimproto::StartReply reply;
  reply.attach_ids = TRY(launch(
      init_, {request.tty, request.rows, request.columns, {}}, std::move(request.attaches), std::move(client_fds),
      [&](LaunchIo io) { return launcher_.prepare(request.plan, std::move(plan_fds), std::move(io)); }));
  state_ = {std::move(request.container_id), ::getpid(), init_.pid, now(), start_ticks_of(init_.pid), request.tty};
  CHECK(run_dir_.write_state(state_));
  reply.state = state_;
  return reply;
}

Result<shimproto::Started> Shim::exec(shimproto::Message message) {
  auto request = TRY(shimproto::decode<shimproto::ExecMessage>(message.body)).request;
  if (init_.exit) return fail(ErrorKind::conflict, "the container is not running");
  if (execs_.contains(request.exec_id)) return fail(ErrorKind::conflict, "exec {} runs already", request.exec_id);
  std::vector<shimproto::AttachSpec> specs;
  std::vector<UniqueFd> client_fds;
  if (request.attach) {
    if (message.fds.empty()) return fail(ErrorKind::invalid, "exec without its client's descriptor");
    specs.push_back(std::move(*request.attach));
    client_fds.push_back(std::move(message.fds.front()));
    message.fds.erase(message.fds.begin());
  }
  auto process = std::make_unique<Process>();
  process->exec_id = request.exec_id;
  process->io =
      make_io({request.tty, request.stdin_open, true, io_config_.reader_limit, io_config_.spill_directory}, nullptr);
  shimproto::Started reply;
  reply.attach_ids = TRY(launch(*process, {request.tty, request.rows, request.columns, {}}, std::move(specs),
                                std::move(client_fds), [&](LaunchIo io) {
                                  return launcher_.prepare_exec(request.plan, std::move(message.fds), std::move(io),
                                                                init_.pidfd.get());
                                }));
  reply.pid = process->pid;
  reply.time = now();
  execs_.emplace(request.exec_id, std::move(process));
  return reply;
}

void Shim::reap_children() {
  while (true) {
    const auto signal = sys::signalfd_read(signals_.get());
    if (!signal || !*signal) break;
  }
  for (;;) {
    int status = 0;
    const pid_t pid = ::waitpid(-1, &status, WNOHANG);
    if (pid <= 0) return;
    if (pid == init_.pid && !init_.exit) {
      process_ended(init_, status);
      continue;
    }
    for (auto& [id, process] : execs_)
      if (process->pid == pid && !process->exit) {
        process_ended(*process, status);
        break;
      }
    // Anybody else is an orphan that came to us as the nearest subreaper.
  }
}

void Shim::process_ended(Process& process, int wait_status) {
  const bool first = &process == &init_;
  process.exit = make_exit(wait_status, first && launcher_.oom_killed());
  if (first) {
    for (auto& [id, exec] : execs_)
      if (!exec->exit) (void)sys::pidfd_send_signal(exec->pidfd.get(), SIGKILL);
    process.io->process_ended([this] { init_drained(); });
  } else {
    process.io->process_ended([this, id = process.exec_id] { exec_drained(id); });
  }
}

void Shim::exec_drained(const std::string& exec_id) {
  const auto found = execs_.find(exec_id);
  if (found == execs_.end()) return;
  Process& process = *found->second;
  process.drained = true;
  shimproto::ExecExitedEvent event{exec_id, *process.exit};
  send_event(MessageType::exec_exited, shimproto::encode(event));
  recent_exec_exits_.push_back(std::move(event));
  if (recent_exec_exits_.size() > kept_exec_exits) recent_exec_exits_.erase(recent_exec_exits_.begin());
  sweep();
}

void Shim::init_drained() {
  init_.drained = true;
  if (std::all_of(execs_.begin(), execs_.end(), [](const auto& exec) { return exec.second->drained; }))
    return announce_exit();
  loop_.after(exec_end_time, [this] { announce_exit(); });
}

void Shim::announce_exit() {
  if (announced_) return;
  announced_ = true;
  // The record comes first: a daemon that is told, or that finds us gone, finds it.
  (void)run_dir_.write_exit(*init_.exit);
  send_event(MessageType::exited, shimproto::encode(*init_.exit));
  sweep();
}

void Shim::sweep() {
  if (sweep_planned_) return;
  sweep_planned_ = true;
  loop_.defer([this] {
    sweep_planned_ = false;
    std::erase_if(execs_, [](const auto& entry) { return entry.second->drained && !entry.second->io->has_clients(); });
    const bool execs_drained =
        std::all_of(execs_.begin(), execs_.end(), [](const auto& exec) { return exec.second->drained; });
    if (init_.drained && !announced_ && execs_drained) announce_exit();
    maybe_finish();
  });
}

void Shim::maybe_finish() {
  if (!announced_ || (active_ != nullptr && !acknowledged_)) return;
  if (!execs_.empty() || init_.io->has_clients()) return;
  if (!log_->drained() && !log_wait_over_) {
    if (init_.exit->finished + log_end_time < now()) log_wait_over_ = true;
    loop_.after(log_poll_time, [this] { maybe_finish(); });
    return;
  }
  // Not the socket's name: a next run of the container may have put its own there by now.
  loop_.stop();
}

void Shim::send_event(MessageType type, std::string body) {
  if (active_ != nullptr) active_->send(type, 0, std::move(body));
}

void give_back_memory() {
  ::malloc_trim(0);
  unmap_program();
}

int run_shim(Launcher& launcher, std::span<char> title) {
  ::prctl(PR_SET_NAME, "corten-shim");
  ::prctl(PR_SET_CHILD_SUBREAPER, 1);
  if (::chdir("/") != 0) return 1;
  ::umask(0022);
  // Blocked rather than ignored: what is ignored would be inherited by the container's processes. A plain kill does not
  // end a shim; its container would die with it.
  sigset_t blocked;
  ::sigemptyset(&blocked);
  for (const int signo : {SIGPIPE, SIGHUP, SIGINT, SIGTERM, SIGQUIT}) ::sigaddset(&blocked, signo);
  ::sigprocmask(SIG_BLOCK, &blocked, nullptr);
  auto signals = sys::make_signalfd({SIGCHLD});
  auto loop = Loop::create();
  if (!signals || !loop) return 1;
  UniqueFd socket(daemon_socket);
  if (::fcntl(socket.get(), F_SETFD, FD_CLOEXEC) != 0) return 1;
  Shim shim(**loop, launcher, std::move(*signals), title);
  return shim.serve(std::move(socket)) ? 0 : 1;
}

}  // namespace corten::shim
