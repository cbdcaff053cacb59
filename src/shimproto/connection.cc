#include "shimproto/connection.h"

#include <poll.h>

#include "sys/process.h"

namespace corten::shimproto {
namespace {

// After so long without an answer the shim is looked at, and again each time.
constexpr std::chrono::seconds look_interval{1};

Deadline next_look(Deadline deadline) { return std::min(deadline, std::chrono::steady_clock::now() + look_interval); }

bool has_hung_up(int socket) {
  pollfd connection{socket, 0, 0};
  return ::poll(&connection, 1, 0) != 0;
}

}  // namespace

Result<Message> call_directly(int socket, MessageType type, std::string_view body, std::span<const int> fds,
                              Deadline deadline) {
  constexpr std::uint32_t id = 0;
  CHECK(send_message(socket, type, id, body, fds, deadline));
  for (;;) {
    auto message = TRY(receive_message(socket));
    if (message && message->type == MessageType::reply && message->id == id) return std::move(*message);
    if (message)
      return fail(ErrorKind::invalid, "message of type {} before the reply", static_cast<int>(message->type));
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
    if (left.count() <= 0) return fail(ErrorKind::deadline, "the shim does not answer");
    pollfd poll_fd{socket, POLLIN, 0};
    if (::poll(&poll_fd, 1, static_cast<int>(left.count())) < 0 && errno != EINTR)
      return sys_fail("poll a shim's socket");
  }
}

Result<Message> Connection::call(MessageType type, std::string_view body, std::span<const int> fds) {
  const Deadline deadline = std::chrono::steady_clock::now() + parts_.request_timeout;
  Pending pending;
  std::uint32_t id = 0;
  {
    const MutexLock lock(mutex_);
    if (closed_) return fail(ErrorKind::unavailable, "the shim of container {} has ended", parts_.state.container_id);
    id = next_id_++;
    if (id == 0) id = next_id_++;
    pending_.emplace(id, &pending);
  }
  auto sent = send(type, id, body, fds, deadline);
  MutexLock lock(mutex_);
  bool stopped = false;
  while (sent && !stopped && std::chrono::steady_clock::now() < deadline) {
    if (replied_.wait_until(lock, next_look(deadline), [&] { return pending.reply || pending.closed; })) break;
    lock.unlock();
    stopped = is_stopped();
    lock.lock();
  }
  pending_.erase(id);
  if (!sent) return std::unexpected(std::move(sent).error());
  if (pending.reply) return std::move(*pending.reply);
  if (pending.closed)
    return fail(ErrorKind::unavailable, "the shim of container {} has ended", parts_.state.container_id);
  if (stopped) return std::unexpected(stopped_error());
  return fail(ErrorKind::deadline, "the shim of container {} did not answer within {} ms", parts_.state.container_id,
              parts_.request_timeout.count());
}

// Waits for room as long as there is hope of it: a stopped shim makes none.
Result<> Connection::send(MessageType type, std::uint32_t id, std::string_view body, std::span<const int> fds,
                          Deadline deadline) {
  for (;;) {
    const Deadline until = next_look(deadline);
    auto sent = send_message(parts_.socket.get(), type, id, body, fds, until);
    if (sent || sent.error().kind() != ErrorKind::deadline) return sent;
    if (is_stopped()) return std::unexpected(stopped_error());
    if (until == deadline) return sent;
  }
}

bool Connection::is_stopped() const {
  const auto state = sys::process_state(parts_.state.shim_pid);
  // The shim's end is closed when it dies, before its pid can be anybody else's: while it is open, this was the shim.
  return state && *state == 'T' && !has_hung_up(parts_.socket.get());
}

Error Connection::stopped_error() const {
  return Error(ErrorKind::deadline, fmt::format("the shim of container {0} (pid {1}) is stopped; continue it with "
                                                "kill -CONT {1}",
                                                parts_.state.container_id, parts_.state.shim_pid));
}

template <class Reply, class Body>
Result<Reply> Connection::request(MessageType type, const Body& body, std::span<const int> fds) {
  const auto reply = TRY(call(type, encode(body), fds));
  return decode_reply<Reply>(reply.body);
}

Result<Started> Connection::exec(const ExecRequest& exec_request) {
  std::vector<int> fds;
  if (exec_request.attach) fds.push_back(exec_request.attach->fd);
  fds.insert(fds.end(), exec_request.plan_fds.begin(), exec_request.plan_fds.end());
  return request<Started>(MessageType::exec, ExecMessage{exec_request}, fds);
}

Result<AttachReply> Connection::attach(const AttachSpec& spec) {
  const int fd = spec.fd;
  return request<AttachReply>(MessageType::attach, spec, std::span(&fd, 1));
}

Result<> Connection::resume_attach(std::uint64_t attach_id) {
  CHECK(request<Empty>(MessageType::resume_attach, AttachIdMessage{attach_id}));
  return {};
}

Result<> Connection::detach(std::uint64_t attach_id) {
  CHECK(request<Empty>(MessageType::detach, AttachIdMessage{attach_id}));
  return {};
}

Result<> Connection::resize(std::string_view exec_id, std::uint16_t rows, std::uint16_t columns) {
  CHECK(request<Empty>(MessageType::resize, ResizeMessage{std::string(exec_id), rows, columns}));
  return {};
}

Result<> Connection::signal(std::string_view exec_id, int signo) {
  CHECK(request<Empty>(MessageType::signal, SignalMessage{std::string(exec_id), signo}));
  return {};
}

Result<> Connection::close_stdin(std::string_view exec_id) {
  CHECK(request<Empty>(MessageType::close_stdin, ExecIdMessage{std::string(exec_id)}));
  return {};
}

Result<> Connection::reopen_logs() {
  CHECK(request<Empty>(MessageType::reopen_logs, Empty{}));
  return {};
}

Result<ShimStatus> Connection::status() { return request<ShimStatus>(MessageType::status, Empty{}); }

bool Connection::read_available(CallbackPool& pool) {
  // Bounded, so that one talkative shim does not keep the reader thread from the others.
  for (int count = 0; count < 64; ++count) {
    auto message = receive_message(parts_.socket.get());
    if (!message) {
      {
        const MutexLock lock(mutex_);
        closed_ = true;
        for (auto& [id, pending] : pending_) pending->closed = true;
        replied_.notify_all();
      }
      enqueue(pool, std::nullopt);
      return false;
    }
    if (!*message) return true;
    if ((*message)->type == MessageType::reply) {
      complete(std::move(**message));
    } else {
      enqueue(pool, std::move(*message));
    }
  }
  return true;
}

void Connection::complete(Message reply) {
  const MutexLock lock(mutex_);
  const auto found = pending_.find(reply.id);
  if (found == pending_.end()) return;  // its caller has given up
  found->second->reply = std::move(reply);
  replied_.notify_all();
}

void Connection::enqueue(CallbackPool& pool, std::optional<Message> event) {
  const MutexLock lock(mutex_);
  if (abandoned_) return;
  events_.push_back(std::move(event));
  if (delivering_) return;
  delivering_ = true;
  pool.post([self = shared_from_this()] { self->run_events(); });
}

void Connection::run_events() {
  for (;;) {
    std::optional<Message> event;
    {
      const MutexLock lock(mutex_);
      if (events_.empty() || abandoned_) {
        delivering_ = false;
        return;
      }
      event = std::move(events_.front());
      events_.pop_front();
    }
    if (event) {
      deliver(*event);
    } else {
      deliver_end();
    }
  }
}

void Connection::deliver(const Message& event) {
  const ShimCallbacks& callbacks = parts_.callbacks;
  switch (event.type) {
    case MessageType::exited: {
      const auto exit = decode<ExitRecord>(event.body);
      if (!exit || ended_) return;
      ended_ = true;
      if (callbacks.on_exit) callbacks.on_exit(*exit);
      // Should it not arrive, the shim goes when this connection closes.
      (void)send_message(parts_.socket.get(), MessageType::exit_ack, 0, {}, {}, std::nullopt);
      return;
    }
    case MessageType::exec_exited: {
      const auto exited = decode<ExecExitedEvent>(event.body);
      if (exited && callbacks.on_exec_exit) callbacks.on_exec_exit(exited->exec_id, exited->exit);
      return;
    }
    case MessageType::attach_closed: {
      const auto closed = decode<AttachClosedEvent>(event.body);
      if (closed && callbacks.on_attach_closed) callbacks.on_attach_closed(closed->attach_id, closed->end);
      return;
    }
    default: return;  // from a newer shim
  }
}

void Connection::deliver_end() {
  if (ended_) return;
  ended_ = true;
  const auto exit = read_exit(parts_.run_dir.get());
  if (exit) {
    if (parts_.callbacks.on_exit) parts_.callbacks.on_exit(*exit);
  } else if (parts_.callbacks.on_lost) {
    parts_.callbacks.on_lost(
        Error(ErrorKind::unavailable, fmt::format("shim {} of container {} has ended without an exit record",
                                                  parts_.state.shim_pid, parts_.state.container_id)));
  }
}

void Connection::abandon() {
  const MutexLock lock(mutex_);
  abandoned_ = true;
  closed_ = true;
  events_.clear();
  for (auto& [id, pending] : pending_) pending->closed = true;
  replied_.notify_all();
}

}  // namespace corten::shimproto
